# SPDX-License-Identifier: Apache-2.0
"""The master process and its workers.

By its own socket and process list (management guide, ``show proc``), and as ``/proc`` has them (proc(5)),
without asking or waiting for a process.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from amphora.errors import ControlSocketError
from amphora.haproxy.control.control_socket import ask
from amphora.system import processes, sockets
from amphora.system.processes import ProcessIdentity, identify

#: Older versions have a column with the process's relative number, ``[was: N]`` for old workers.
_PROCESS = re.compile(
    r"(?P<pid>\d+)\s+(?P<kind>\S+)\s+(?P<relative>(?:\d+|-|\[was: \d+\])\s+)?"
    r"(?P<reloads>\d+)(?:\s+\[failed: (?P<failed>\d+)\])?\s+"
    r"(?P<uptime>\d+d\d+h\d+m\d+s)(?:\s+(?P<version>\S+))?\s*",
    re.ASCII,
)
_SUCCESS = re.compile(r"Success=([01])", re.ASCII)

#: Of clients; connections to the stats socket do not count (measured on 2.6, 3.0, 3.2 and 3.4).
_CONNECTIONS = re.compile(r"^CurrConns: (\d+)$", re.MULTILINE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a haproxy.

    :ivar reloads: how many reloads it has lived through; 0 for a worker of the latest configuration.
    """

    pid: int
    reloads: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """A master's report of a reload.

    :ivar loaded: the new worker serves; otherwise the former one goes on.
    :ivar words: haproxy's output meanwhile, with the alerts of a worker that failed; empty where it
        was built without shared memory (``SHM_OPEN``) for them.
    """

    loaded: bool
    words: str


@dataclass(frozen=True, slots=True)
class MasterProcesses:
    """All processes of a haproxy, as its master sees them.

    :ivar failed: how many reloads have failed since the last good one; None from versions older than
        2.6, where they may not be counted.
    :ivar workers: of the latest configuration. From 3.1 on that is one that may still load it and fail, and
        none once it has failed.
    :ivar old_workers: those before, that only finish what they have; but see :attr:`serving`.
    """

    master: Process
    failed: int | None
    workers: tuple[Process, ...]
    old_workers: tuple[Process, ...] = ()

    @property
    def serving(self) -> Process | None:
        """The worker that takes new connections, if none is being loaded.

        After a reload that failed, 3.1 or newer lists it among the old ones: it has lived through the fewest
        reloads of those.
        """
        known = self.workers or self.old_workers
        return min(known, key=lambda worker: worker.reloads, default=None)

    def pids(self) -> frozenset[int]:
        """Return the ids of all of them."""
        return frozenset(process.pid for process in (self.master, *self.workers, *self.old_workers))


class Master(Protocol):
    """Provides the process list of one haproxy."""

    def processes(self) -> MasterProcesses:
        """Return the process list.

        :raises ControlSocketError: it is not available now.
        """
        ...


class SocketlessMaster:
    """A master process that was started without a socket, known by its child processes.

    A failed reload cannot be detected, only that no new worker serves.

    :param known: processes from before a reload; each other one counts as a reload.
    """

    def __init__(self, pid: int, known: frozenset[int] = frozenset()) -> None:
        self._pid = pid
        self._known = known

    def processes(self) -> MasterProcesses:
        """Return the process list.

        :raises ControlSocketError: the process is gone.
        """
        if identify(self._pid) is None:
            raise ControlSocketError(f"master process {self._pid} is gone")
        workers = tuple(Process(worker.pid, 0) for worker in workers_of({self._pid})[self._pid])
        reloads = sum(worker.pid not in self._known for worker in workers) if self._known else 0
        return MasterProcesses(Process(self._pid, reloads), None, workers)


class MasterSocket:
    """The socket of a master process. Each call is one connection.

    :param timeout: seconds that one question may take in all.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout

    def processes(self) -> MasterProcesses:
        """Return the process list. The master answers nothing while it reads a configuration.

        :raises ControlSocketError: no usable answer in time.
        """
        answer = ask(self._path, "show proc", self._timeout)
        try:
            return parse_processes(answer)
        except ValueError as error:
            raise ControlSocketError(f"{self._path} answered 'show proc' oddly: {error}") from None

    def clients_of(self, worker: int) -> int:
        """Return how many connections of clients a worker has, also one that was replaced.

        :raises ControlSocketError: no usable answer in time; the worker may have ended.
        """
        answer = ask(self._path, f"@!{worker} show info", self._timeout)
        match = _CONNECTIONS.search(answer)
        if match is None:
            raise ControlSocketError(f"{self._path} has no answer about worker {worker}: {answer[:200]!r}")
        return int(match[1])

    def reload(self, timeout: float) -> Verdict:
        """Reload, and return how that went once it is over. haproxy 2.7 or newer.

        :param timeout: seconds; one that cannot bind takes two.
        :raises ControlSocketError: there was no answer; it may have been reloaded all the same.
        """
        answer = ask(self._path, "reload", timeout)
        first, _, rest = answer.partition("\n")
        success = _SUCCESS.fullmatch(first.strip())
        if success is None:
            raise ControlSocketError(f"{self._path} answered 'reload' oddly: {answer[:200]!r}")
        return Verdict(success[1] == "1", rest.removeprefix("--\n").strip())


def parse_processes(text: str) -> MasterProcesses:
    """Read the answer to ``show proc``, of haproxy 2.0 or newer. Programs are ignored.

    :raises ValueError: it is not such an answer.
    """
    master: re.Match[str] | None = None
    sections: dict[str, list[Process]] = {}
    section: list[Process] = []
    for line in text.splitlines():
        if line.startswith("#"):
            section = sections.setdefault(line.lstrip("# ").rstrip(), [])
        elif match := _PROCESS.fullmatch(line):
            if match["kind"] == "master":
                master = match
            elif match["kind"] == "worker":
                section.append(Process(int(match["pid"]), int(match["reloads"])))
    if master is None:
        raise ValueError(f"no master process in {text[:200]!r}")
    return MasterProcesses(
        master=Process(int(master["pid"]), int(master["reloads"])),
        failed=None if master["failed"] is None else int(master["failed"]),
        workers=tuple(sections.get("workers", ())),
        old_workers=tuple(sections.get("old workers", ())),
    )


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
