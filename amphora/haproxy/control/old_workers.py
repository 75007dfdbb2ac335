# SPDX-License-Identifier: Apache-2.0
"""Workers that reloads have replaced and that still have clients: a warning about many, and a limit.

haproxy's own ``mworker-max-reloads`` counts reloads that have failed too, so that some refused ones before a
good one cut the connections of the worker that had served all the time (measured on 2.6, 3.0 and 3.4).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence

from amphora.errors import ControlSocketError
from amphora.haproxy.control.master import MasterSocket, workers_of
from amphora.system import processes
from amphora.system.processes import ProcessIdentity

LOG = logging.getLogger(__name__)

#: Old workers of one instance beyond which there is a warning, and down to which it must fall before the
#: next: each takes 5 MiB or more for as long as its last client stays.
MANY, FEW = 8, 4


class OldWorkerWarnings:
    """Warns once of an instance that has come to have many old workers. From any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._crowded: set[str] = set()

    def count(self, old_workers: Mapping[str, Sequence[ProcessIdentity]]) -> None:
        """Take note of the old workers of all instances, oldest first."""
        with self._guard:
            self._crowded &= {name for name, workers in old_workers.items() if len(workers) > FEW}
            grown = {name for name, workers in old_workers.items() if len(workers) > MANY} - self._crowded
            self._crowded |= grown
        for name in sorted(grown):
            LOG.warning(
                "%s has %d old workers whose clients stay connected, the oldest since %s; "
                "haproxy_drain_time and haproxy_max_old_workers can bound them",
                name,
                len(old_workers[name]),
                old_workers[name][0].started_at().isoformat(timespec="seconds"),
            )


def end_surplus(
    master: MasterSocket, master_pid: int, limit: int, instance_id: str = ""
) -> list[ProcessIdentity]:
    """End the oldest workers beyond a number, with the connections they have, and return them.

    Workers without clients end by themselves and do not count, nor does one that does not answer. The worker
    that takes new connections is never ended. May be repeated.

    :param limit: replaced workers that may still have clients.
    :param instance_id: for the log.
    """
    replaced = workers_of({master_pid})[master_pid][:-1]
    busy = [worker for worker in replaced if _has_clients(master, worker)]
    ended = [worker for worker in busy[: max(0, len(busy) - limit)] if processes.terminate(worker)]
    for worker in ended:
        LOG.warning(
            "%s: old worker %d of %s was ended with its connections: more than %d still had clients",
            instance_id,
            worker.pid,
            worker.started_at().isoformat(timespec="seconds"),
            limit,
        )
    return ended


def _has_clients(master: MasterSocket, worker: ProcessIdentity) -> bool:
    try:
        return master.clients_of(worker.pid) > 0
    except ControlSocketError as error:
        LOG.info("old worker %d is skipped: %s", worker.pid, error)
        return False
