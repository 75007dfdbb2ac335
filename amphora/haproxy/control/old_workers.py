# SPDX-License-Identifier: Apache-2.0
"""Ends workers that reloads have replaced, where more of them have clients than is allowed.

haproxy's own ``mworker-max-reloads`` counts reloads that have failed too, so that some refused ones before a
good one cut the connections of the worker that had served all the time (measured on 2.6, 3.0 and 3.4).
"""

from __future__ import annotations

import logging

from amphora.errors import ControlSocketError
from amphora.haproxy.control.master import MasterSocket
from amphora.haproxy.control.workers import workers_of
from amphora.system import processes
from amphora.system.processes import ProcessIdentity

LOG = logging.getLogger(__name__)


def end_surplus(master: MasterSocket, master_pid: int, limit: int) -> list[ProcessIdentity]:
    """End the oldest workers beyond a number, with the connections they have, and return them.

    Workers without clients end by themselves and do not count, nor does one that does not answer. The worker
    that takes new connections is none of them. May be repeated.

    :param limit: replaced workers that may still have clients.
    """
    replaced = workers_of({master_pid})[master_pid][:-1]
    busy = [worker for worker in replaced if _has_clients(master, worker)]
    return [worker for worker in busy[: max(0, len(busy) - limit)] if processes.terminate(worker)]


def _has_clients(master: MasterSocket, worker: ProcessIdentity) -> bool:
    try:
        return master.clients_of(worker.pid) > 0
    except ControlSocketError as error:
        LOG.info("old worker %d is left to itself: %s", worker.pid, error)
        return False
