# SPDX-License-Identifier: Apache-2.0
"""Takes over what runs of another agent: haproxy processes that Octavia's own agent has started.

Such a process has the pid file and the service name that ours has, and reads the stored configuration
itself. It has neither our overlay nor a master socket until it is started anew, so its stats socket is the
one that its configuration names, and its workers are told by being its children.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import pairwise

from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceLayout
from amphora.errors import AmphoraError, OperationFailed
from amphora.models import ServiceState
from amphora.system import processes

LOG = logging.getLogger(__name__)


def take_over(layouts: Iterable[InstanceLayout], engine: HaproxyEngine) -> None:
    """Make services of ours of processes that another agent started. None of them is touched.

    Safe to repeat. One that cannot be taken over is logged and left alone.
    """
    for layout in layouts:
        try:
            _take_over(layout, engine)
        except AmphoraError as error:
            LOG.error("the haproxy of %s could not be taken over: %s", layout.instance_id, error)


def _take_over(layout: InstanceLayout, engine: HaproxyEngine) -> None:
    pid = processes.read_pid_file(layout.pid_file)
    arguments = processes.command_line(pid) if pid is not None else ()
    if str(layout.stored) not in arguments or engine.status(layout).state is not ServiceState.ABSENT:
        return
    peer = next((after for option, after in pairwise(arguments) if option == "-L"), "")
    engine.adopt(layout, peer)
    if engine.status(layout).pid != pid:
        # This machine's process manager does not know that process, so each action would be of another one.
        engine.disown(layout)
        raise OperationFailed(f"process {pid} is none of this machine's services")
    LOG.warning("took over the haproxy of %s, process %s, which goes on", layout.instance_id, pid)
