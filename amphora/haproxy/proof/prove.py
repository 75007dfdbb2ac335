# SPDX-License-Identifier: Apache-2.0
"""Proves that a start or a reload has taken effect.

A reload signal has no answer, and process managers report success even when haproxy has refused the
new configuration. What can be trusted is the master's process list: its count of reloads rises
once it has loaded the configuration or given up, its count of failures tells which, and a worker with
a new process id serves. A refusal for a taken address shows after about two seconds. From 3.1 on the count of
reloads rises before the new worker has loaded anything, and that of failures when it has ended; what is proof
is that it answers on the stats socket, which it does not before it serves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from amphora.errors import ControlSocketError, ProofFailed, ReloadRefused
from amphora.haproxy.control.master import Master, MasterProcesses
from amphora.haproxy.control.stats import StatsSocket, open_frontends
from amphora.haproxy.control.workers import workers_of
from amphora.haproxy.proof.probe_report import ReachReport
from amphora.haproxy.reading.configuration import Configuration

_T = TypeVar("_T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.05
_LONGEST_PAUSE_BETWEEN_LOOKS = 1.0
#: Named in an error; the others are of the same kind.
_MOST_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Generation:
    """What ran before a reload.

    :ivar pids: of the master and all its workers.
    """

    master_pid: int
    reloads: int
    pids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was seen to run.

    :ivar reloads: of the master since it was started.
    :ivar frontends: those seen open, sorted.
    :ivar seconds: from the call to the proof.
    :ivar old_workers: that still serve the clients they have.
    :ivar reach: what was seen of the binds; None when nobody looked.
    """

    master_pid: int
    worker_pid: int
    reloads: int
    frontends: tuple[str, ...]
    seconds: float
    old_workers: int = 0
    reach: ReachReport | None = None

    def __str__(self) -> str:
        parts = [
            f"worker {self.worker_pid} of master {self.master_pid} serves after {self.seconds:.2f} s",
            f"reloads: {self.reloads}",
            f"frontends open: {len(self.frontends)}",
            f"old workers: {self.old_workers}",
        ]
        return "; ".join([*parts, str(self.reach)] if self.reach else parts)


#: Looks at the binds of a configuration that workers, by their process ids, are to serve.
Reach = Callable[[Configuration, frozenset[int]], ReachReport]
#: Says why nobody need wait any longer; empty while there is hope.
GivenUp = Callable[[], str]


def _not_given_up() -> str:
    return ""


class _NotYetError(Exception):
    """What is still missing; only ever seen by the polling loop."""


def snapshot(master: Master) -> Generation | None:
    """Return what runs now, to be told from what runs after a reload; None without an answer."""
    try:
        processes = master.processes()
    except ControlSocketError:
        return None
    return Generation(processes.master.pid, processes.master.reloads, processes.pids())


def prove_start(
    master: Master,
    stats: StatsSocket,
    configuration: Configuration,
    deadline: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    reach: Reach | None = None,
    given_up: GivenUp = _not_given_up,
) -> Evidence:
    """Wait until a started haproxy serves all frontends of a configuration and is reached on its binds.

    :param deadline: by ``clock``; the sockets' own time limits may be added to it once.
    :param reach: how to look at the binds, or None to trust haproxy's word for them.
    :param given_up: asked while something is missing.
    :raises ProofFailed: it does not by then; the details say what was missing last.
    """
    return _Prover(master, stats, configuration, None, reach, given_up).wait(deadline, clock, sleep)


def prove_reload(
    before: Generation,
    master: Master,
    stats: StatsSocket,
    configuration: Configuration,
    deadline: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    reach: Reach | None = None,
    given_up: GivenUp = _not_given_up,
) -> Evidence:
    """Wait until a new worker serves all frontends of a configuration and is reached on its binds.

    A master with another process id than before was restarted and has read the same files, so it
    counts as well.

    :param deadline: by ``clock``; the sockets' own time limits may be added to it once.
    :param reach: how to look at the binds, or None to trust haproxy's word for them.
    :param given_up: asked while something is missing.
    :raises ReloadRefused: the master could not load it; the former worker goes on.
    :raises ProofFailed: neither showed by then; the details say what was missing last.
    """
    return _Prover(master, stats, configuration, before, reach, given_up).wait(deadline, clock, sleep)


def refusal(processes: MasterProcesses) -> ReloadRefused:
    """Return what a reload that failed is answered with: it names the worker that goes on serving.

    That is the one that holds the listening sockets; where that cannot be seen, the one that the list has.

    :param processes: after it has failed.
    """
    master, serving = processes.master.pid, processes.serving
    holding = workers_of({master})[master]
    kept = holding[-1].pid if holding else serving.pid if serving else "none"
    what = f"haproxy (master process {master}) could not load the new configuration"
    return ReloadRefused(f"{what}; it goes on with worker {kept}")


@dataclass(frozen=True, slots=True)
class _Prover:
    master: Master
    stats: StatsSocket
    configuration: Configuration
    before: Generation | None
    reach: Reach | None
    given_up: GivenUp

    def wait(self, deadline: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> Evidence:
        began = clock()
        pause = _FIRST_PAUSE
        looks: list[ReachReport] = []
        while True:
            try:
                processes = self._reloaded()
                worker = self._serving_worker(processes)
                frontends = self._open_frontends()
                self._reach_binds(processes, looks)
            except _NotYetError as missing:
                if why := self.given_up():
                    raise ProofFailed(f"{why}: {missing}") from missing
                left = deadline - clock()
                if left <= 0:
                    raise ProofFailed(f"haproxy could not be seen to serve in time: {missing}") from missing
                sleep(min(pause, left))
                # Each look at a bind may leave a line in the tenant's log.
                pause = min(pause * 2, _LONGEST_PAUSE_BETWEEN_LOOKS if looks else _LONGEST_PAUSE)
                continue
            master, old = processes.master, len(processes.old_workers)
            seen = looks[-1] if looks else None
            return Evidence(master.pid, worker, master.reloads, frontends, clock() - began, old, seen)

    def _reach_binds(self, processes: MasterProcesses, looks: list[ReachReport]) -> None:
        if self.reach is None:
            return
        # Old versions may have several.
        workers = frozenset(worker.pid for worker in processes.workers)
        report = self.reach(self.configuration, workers)
        looks.append(report.plus(looks[-1]) if looks else report)
        if failures := report.failures():
            raise _NotYetError("; ".join(str(failure) for failure in failures[:_MOST_FAILURES]))

    def _reloaded(self) -> MasterProcesses:
        processes, before = _asked(self.master.processes), self.before
        if before is None or processes.master.pid != before.master_pid:
            return processes
        if processes.master.reloads <= before.reloads:
            raise _NotYetError(f"master process {before.master_pid} has not taken up the reload")
        renewed = any(worker.pid not in before.pids for worker in processes.workers)
        if processes.failed or (processes.failed is None and not renewed):
            raise refusal(processes)
        return processes

    def _serving_worker(self, processes: MasterProcesses) -> int:
        former = self.before.pids if self.before else frozenset()
        fresh = {worker.pid for worker in processes.workers} - former
        if not fresh:
            raise _NotYetError(f"master process {processes.master.pid} has no new worker")
        answering = _asked(self.stats.worker_pid)
        if answering not in fresh:
            raise _NotYetError(f"process {answering} still answers on the stats socket")
        return answering

    def _open_frontends(self) -> tuple[str, ...]:
        serving = open_frontends(_asked(self.stats.statistics))
        if closed := self.configuration.expected_frontends() - serving:
            raise _NotYetError(f"not open: frontend {', '.join(sorted(closed))}")
        return tuple(sorted(serving))


def _asked(question: Callable[[], _T]) -> _T:
    try:
        return question()
    except ControlSocketError as error:
        # The sockets are away for some milliseconds while haproxy executes itself anew.
        raise _NotYetError(error.details) from error
