# SPDX-License-Identifier: Apache-2.0
"""Finds, before anything is signalled, what would keep a configuration from running.

``haproxy -c`` binds nothing, raises no limits and takes no memory. A reload that fails for one of these
is refused only after two seconds in which healthy frontends refuse connections too (measured on 2.6).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from amphora.haproxy.preflight.bind_checks import bind_findings
from amphora.haproxy.preflight.capacity import MIB, Capacity, needed_memory, read_capacity
from amphora.haproxy.preflight.file_checks import file_findings
from amphora.haproxy.preflight.findings import Finding, Severity
from amphora.haproxy.preflight.footprint import OLDEST, Footprint
from amphora.haproxy.reading.configuration import Configuration
from amphora.system import memory, processes

#: Bytes that a reload must leave to the rest of the machine.
DEFAULT_RESERVE = 32 * MIB


@dataclass(frozen=True, slots=True)
class Facts:
    """The machine and what runs on it, as far as a configuration's chances depend on them.

    What is None is unknown and not checked.

    :ivar namespace: network namespace that the process runs in; empty means the agent's own.
    :ivar owner_pids: master and workers that run already; what they listen on is handed over.
    :ivar running: the configuration of the running worker.
    :ivar local_peer: the name given to haproxy with ``-L``.
    :ivar descriptor_limit: files that the process may open at most.
    :ivar open_files_left: files that the whole machine may still open.
    :ivar worker_memory: bytes that the running worker takes.
    :ivar available: memory that can still be taken.
    :ivar reserve: bytes of it that must stay free.
    :ivar now: with a time zone; None for the time of the call.
    :ivar relaxed_limits: as in :class:`amphora.haproxy.overlay.OverlaySettings`.
    :ivar footprint: of the haproxy that runs it.
    """

    namespace: str = ""
    owner_pids: frozenset[int] = frozenset()
    running: Configuration | None = None
    local_peer: str = ""
    descriptor_limit: int | None = None
    open_files_left: int | None = None
    worker_memory: int | None = None
    available: memory.MemoryHeadroom | None = None
    reserve: int = DEFAULT_RESERVE
    now: datetime | None = None
    relaxed_limits: bool = False
    footprint: Footprint = OLDEST


def gather_facts(
    namespace: str = "",
    *,
    master_pid: int | None = None,
    worker_pids: frozenset[int] = frozenset(),
    current_worker: int | None = None,
    running: Configuration | None = None,
    local_peer: str = "",
    reserve: int = DEFAULT_RESERVE,
    relaxed_limits: bool = False,
    footprint: Footprint = OLDEST,
) -> Facts:
    """Read the facts of this machine; never forks, takes some milliseconds.

    :param master_pid: of the running haproxy, or None at a first start.
    :param worker_pids: all of its workers.
    :param current_worker: the one that serves the latest configuration.
    :param running: what that one was started from.
    """
    return Facts(
        namespace=namespace,
        owner_pids=worker_pids | ({master_pid} if master_pid else frozenset()),
        running=running,
        local_peer=local_peer,
        # What a service manager will allow at a first start is not ours to know.
        descriptor_limit=processes.descriptor_limit(master_pid) if master_pid else processes.kernel_ceiling(),
        open_files_left=processes.open_files_left(),
        worker_memory=memory.process_memory(current_worker) if current_worker else None,
        available=memory.headroom(master_pid),
        reserve=reserve,
        now=datetime.now(UTC),
        relaxed_limits=relaxed_limits,
        footprint=footprint,
    )


def preflight(configuration: Configuration, facts: Facts, *, time_limit: float = 5.0) -> tuple[Finding, ...]:
    """Return everything that would keep a process from running a configuration; safe to repeat.

    Nothing that runs is touched or disturbed. An empty answer is no promise: what only haproxy can know is
    skipped, and what is free now can be taken a moment later. :func:`refusing_upload` and
    :func:`refusing_start` choose from the answer.

    :param time_limit: seconds for the files, and again for the binds.
    :raises OperationFailed: the namespace cannot be entered.
    """
    return (
        *file_findings(configuration, facts.now or datetime.now(UTC), time_limit=time_limit),
        *capacity_findings(configuration, facts),
        *bind_findings(
            configuration,
            facts.namespace,
            facts.owner_pids,
            local_peer=facts.local_peer,
            time_limit=time_limit,
        ),
    )


def capacity_findings(configuration: Configuration, facts: Facts) -> tuple[Finding, ...]:
    """Return for which limits of the machine a configuration is too large. Pure but for files' sizes."""
    wanted = read_capacity(configuration, facts.footprint)
    running = None if facts.running is None else read_capacity(facts.running, facts.footprint)
    return (*_descriptor_findings(wanted, facts), *_memory_findings(wanted, running, facts))


def _descriptor_findings(wanted: Capacity, facts: Facts) -> Iterator[Finding]:
    need = wanted.descriptors()
    if need is None:
        return
    subject = "ulimit-n" if wanted.descriptor_setting else f"maxconn {wanted.maxconn}"
    limit = min(
        (number for number in (facts.descriptor_limit, wanted.descriptor_cap) if number is not None),
        default=None,
    )
    if limit is not None and need > limit:
        # Without strict-limits haproxy runs on with fewer.
        fatal = wanted.strict and not facts.relaxed_limits
        severity = Severity.REFUSES_START if fatal else Severity.ADVISES
        reason = f"it needs {need} open files and may have {limit}"
        yield Finding(wanted.line, subject, reason, severity)
    elif facts.open_files_left is not None and need > facts.open_files_left:
        reason = f"it may open {need} files and the machine has {facts.open_files_left} left"
        yield Finding(wanted.line, subject, reason, Severity.ADVISES)


def _memory_findings(wanted: Capacity, running: Capacity | None, facts: Facts) -> Iterator[Finding]:
    if facts.available is None:
        return
    need = needed_memory(wanted, running, facts.worker_memory, facts.descriptor_limit)
    room = facts.available.available
    if need + facts.reserve <= room:
        return
    beside = (
        "" if facts.worker_memory is None else f" beside the worker that has {_mib(facts.worker_memory)} now"
    )
    reason = (
        f"a new worker needs about {_mib(need)}{beside}; {facts.available.limit} has {_mib(room)} left, "
        f"of which {_mib(facts.reserve)} must stay free"
    )
    yield Finding(0, "memory", reason, Severity.REFUSES_START)


def _mib(amount: int) -> str:
    return f"{amount / MIB:.0f} MiB"
