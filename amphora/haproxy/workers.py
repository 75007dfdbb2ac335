# SPDX-License-Identifier: Apache-2.0
"""The workers of running haproxies, as ``/proc`` has them (proc(5)). Nobody is asked or waited for."""

from __future__ import annotations

from collections.abc import Collection

from amphora.system import processes
from amphora.system.processes import ProcessIdentity


def workers_of(masters: Collection[int]) -> dict[int, list[ProcessIdentity]]:
    """Return the live workers of each master process, oldest first.

    The last one takes new connections. All before it were replaced by reloads and finish what they have.
    """
    found: dict[int, list[ProcessIdentity]] = {master: [] for master in masters}
    for pid in processes.process_ids() if masters else ():
        parent = processes.parent_of(pid)
        child = processes.identify(pid) if parent in found else None
        if parent is not None and child is not None and _is_same_program(pid, parent):
            found[parent].append(child)
    for workers in found.values():
        workers.sort(key=lambda worker: (worker.start_ticks, worker.pid))
    return found


def _is_same_program(pid: int, master: int) -> bool:
    # Programs that a configuration names are children of the master, too. Its own command line is empty for
    # the instant in which a reload executes it anew.
    own, of_master = processes.command_line(pid)[:1], processes.command_line(master)[:1]
    return not of_master or own == of_master
