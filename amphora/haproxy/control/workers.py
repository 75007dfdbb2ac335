# SPDX-License-Identifier: Apache-2.0
"""The workers of running haproxies, as ``/proc`` has them (proc(5)). No process is asked or waited for."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from amphora.system import processes, sockets
from amphora.system.processes import ProcessIdentity


def workers_of(masters: Collection[int]) -> dict[int, list[ProcessIdentity]]:
    """Return the live workers of each master process that serve or have served, oldest first.

    The last one takes new connections. All before it were replaced by reloads and finish what they have. One
    that still reads its configuration, and may yet fail (haproxy 3.1 or newer), is left out.
    """
    found: dict[int, list[ProcessIdentity]] = {master: [] for master in masters}
    for pid in processes.process_ids() if masters else ():
        parent = processes.parent_of(pid)
        child = processes.identify(pid) if parent in found else None
        if parent is not None and child is not None and _is_same_program(pid, parent):
            found[parent].append(child)
    for master, workers in found.items():
        workers.sort(key=lambda worker: (worker.start_ticks, worker.pid))
        del workers[_serving(master, workers) + 1 :]
    return found


def _serving(master: int, workers: Sequence[ProcessIdentity]) -> int:
    """Return the index of the worker that takes new connections.

    It is the oldest that holds a listening socket: those that were replaced have closed all of theirs, and
    one that still loads has the same ones. Measured on 2.6, 3.0, 3.2 and 3.4 over good and failed reloads.
    """
    youngest = len(workers) - 1
    if youngest < 1:
        return youngest
    waiting = sockets.waiting_inodes(master)
    # For an instant of the handover none does.
    return next((at for at, worker in enumerate(workers) if sockets.holds_any(worker.pid, waiting)), youngest)


def _is_same_program(pid: int, master: int) -> bool:
    # Programs that a configuration names are children of the master, too. Its own command line is empty for
    # the instant in which a reload executes it again.
    own, of_master = processes.command_line(pid)[:1], processes.command_line(master)[:1]
    return not of_master or own == of_master
