# SPDX-License-Identifier: Apache-2.0
"""Proves that a start or a reload has taken effect.

A reload signal has no answer, and process managers report success even if haproxy has refused the new
configuration. Reliable is the master's process list: its count of reloads rises once it has loaded the
configuration or failed to, its count of failures shows which, and a worker with a new process id serves. A
refusal for an address in use shows after about two seconds. From 3.1 on the count of reloads rises before the
new worker has loaded anything, and that of failures when it has ended; proof is then that it answers on the
stats socket, which it does not before it serves.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeVar

from amphora.errors import ControlSocketError, ProofFailed, ReloadRefused
from amphora.haproxy.control.master import Master, MasterProcesses, workers_of
from amphora.haproxy.control.stats import StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import Configuration

_T = TypeVar("_T")

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.05
_LONGEST_PAUSE_BETWEEN_PROBES = 1.0
#: In an error; more would say the same.
_MOST_FAILURES = 10


@dataclass(frozen=True, slots=True)
class Generation:
    """What ran before a reload.

    :ivar pids: of the master and all its workers.
    """

    master_pid: int
    reloads: int
    pids: frozenset[int]


class ProbeResult(Enum):
    """What a probe has shown; the last two are failures."""

    #: A handshake brought the certificate that is stored.
    CERTIFICATE = "serves its certificate"
    CONNECTED = "answers"
    #: The worker listens; the note says why nothing else was tried.
    HELD = "is listened on"
    #: It cannot be probed from here; the note says why.
    UNKNOWN = "not probed"
    UNREACHED = "not reached"
    OTHER_CERTIFICATE = "serves another certificate"


@dataclass(frozen=True, slots=True)
class BindProbe:
    """One probed address of a bind line.

    :ivar frontend: name of the section; empty for a bind outside frontends.
    :ivar note: for people; may be empty.
    """

    line: int
    frontend: str
    address: str
    result: ProbeResult
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether clients cannot use a frontend as configured. Peers and logs do not count."""
        return bool(self.frontend) and self.result in (ProbeResult.UNREACHED, ProbeResult.OTHER_CERTIFICATE)

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"line {self.line}: bind {self.address} {self.result.value}{note}"


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """All probed binds.

    :ivar handshakes: frontend to the TLS connections that were begun and aborted: they count in its
        ``conn_tot``, and in no statistics of heartbeats.
    :ivar noticed: frontend to the connections that it may have counted as a client's all the same.
    """

    binds: tuple[BindProbe, ...] = ()
    handshakes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    noticed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def failures(self) -> tuple[BindProbe, ...]:
        """Return the binds that clients cannot use as configured."""
        return tuple(bind for bind in self.binds if bind.failed)

    def plus(self, former: ProbeReport) -> ProbeReport:
        """Return this report with the connections of a former one added."""
        return replace(
            self,
            handshakes=Counter(self.handshakes) + Counter(former.handshakes),
            noticed=Counter(self.noticed) + Counter(former.noticed),
        )

    def __str__(self) -> str:
        counts = Counter(bind.result for bind in self.binds)
        parts = [f"{result.value}: {counts[result]}" for result in ProbeResult if counts[result]]
        counted = f" ({', '.join(parts)})" if parts else ""
        notes = [str(bind) for bind in self.binds if bind.note]
        return "; ".join([f"binds: {len(self.binds)}{counted}", *notes])


@dataclass(frozen=True, slots=True)
class Evidence:
    """What runs.

    :ivar reloads: of the master since it was started.
    :ivar frontends: those that are open, sorted.
    :ivar seconds: from the call to the proof.
    :ivar old_workers: that still serve the clients they have.
    :ivar probe: of the binds; None if they were not probed.
    """

    master_pid: int
    worker_pid: int
    reloads: int
    frontends: tuple[str, ...]
    seconds: float
    old_workers: int = 0
    probe: ProbeReport | None = None

    def __str__(self) -> str:
        parts = [
            f"worker {self.worker_pid} of master {self.master_pid} serves after {self.seconds:.2f} s",
            f"reloads: {self.reloads}",
            f"frontends open: {len(self.frontends)}",
            f"old workers: {self.old_workers}",
        ]
        return "; ".join([*parts, str(self.probe)] if self.probe else parts)


#: Probes the binds of a configuration that workers, by their process ids, should serve.
ProbeBinds = Callable[[Configuration, frozenset[int]], ProbeReport]
#: Returns why waiting is pointless; empty while it is not.
AbortReason = Callable[[], str]


def _never() -> str:
    return ""


class _NotYetError(Exception):
    """What is still missing; caught by the polling loop."""


def snapshot(master: Master) -> Generation | None:
    """Return what runs now, to compare with what runs after a reload; None without an answer."""
    try:
        processes = master.processes()
    except ControlSocketError:
        return None
    return Generation(processes.master.pid, processes.master.reloads, processes.pids())


def prove(
    master: Master,
    stats: StatsSocket,
    configuration: Configuration,
    deadline: float,
    *,
    before: Generation | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    probe: ProbeBinds | None = None,
    abort_reason: AbortReason = _never,
) -> Evidence:
    """Wait until haproxy serves all frontends of a configuration, on all of their binds.

    :param deadline: by ``clock``; the sockets' own time limits may be added to it once.
    :param before: what ran before a reload: then a new worker must serve. A master with another process id
        was restarted and has read the same files, so it counts as well. None after a start.
    :param probe: probes the binds; None: haproxy's own report of open frontends is enough.
    :param abort_reason: called while something is missing.
    :raises ReloadRefused: the master could not load it; the former worker goes on.
    :raises ProofFailed: neither happened by then; the details name what was missing last.
    """
    prover, began, pause = _Prover(master, stats, configuration, before, probe), clock(), _FIRST_PAUSE
    while True:
        try:
            return prover.evidence(began, clock)
        except _NotYetError as missing:
            if why := abort_reason():
                raise ProofFailed(f"{why}: {missing}") from missing
            left = deadline - clock()
            if left <= 0:
                raise ProofFailed(f"timed out waiting for haproxy to serve: {missing}") from missing
            sleep(min(pause, left))
            # Each probe may leave a line in the tenant's log.
            pause = min(pause * 2, _LONGEST_PAUSE_BETWEEN_PROBES if prover.report else _LONGEST_PAUSE)


def refusal(processes: MasterProcesses) -> ReloadRefused:
    """Return the error of a reload that failed; it names the worker that goes on serving.

    That is the one that holds the listening sockets; if that is unknown, the one in the list.

    :param processes: after it has failed.
    """
    master, serving = processes.master.pid, processes.serving
    holding = workers_of({master})[master]
    kept = holding[-1].pid if holding else serving.pid if serving else "none"
    what = f"haproxy (master process {master}) could not load the new configuration"
    return ReloadRefused(f"{what}; it goes on with worker {kept}")


@dataclass(slots=True)
class _Prover:
    master: Master
    stats: StatsSocket
    configuration: Configuration
    before: Generation | None
    probe: ProbeBinds | None
    report: ProbeReport | None = None

    def evidence(self, began: float, clock: Callable[[], float]) -> Evidence:
        processes = self._reloaded()
        worker = self._serving_worker(processes)
        frontends = self._open_frontends()
        self._probe_binds(processes)
        master, old = processes.master, len(processes.old_workers)
        return Evidence(master.pid, worker, master.reloads, frontends, clock() - began, old, self.report)

    def _probe_binds(self, processes: MasterProcesses) -> None:
        if self.probe is None:
            return
        # Old versions may have several.
        report = self.probe(self.configuration, frozenset(worker.pid for worker in processes.workers))
        self.report = report.plus(self.report) if self.report else report
        if failures := report.failures():
            raise _NotYetError("; ".join(str(failure) for failure in failures[:_MOST_FAILURES]))

    def _reloaded(self) -> MasterProcesses:
        processes, before = _asked(self.master.processes), self.before
        if before is None or processes.master.pid != before.master_pid:
            return processes
        if processes.master.reloads <= before.reloads:
            raise _NotYetError(f"master process {before.master_pid} has not begun the reload")
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
        # The sockets disappear for some milliseconds while haproxy executes itself again.
        raise _NotYetError(error.details) from error
