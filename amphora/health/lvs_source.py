# SPDX-License-Identifier: Apache-2.0
"""Reads all LVS listeners in one pass, from their files and the kernel. No process is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from amphora.core.workloads.lvs_files import LvsDirectory, LvsFiles
from amphora.errors import AmphoraError, OperationFailed
from amphora.health.readings import Counters, ListenerReading, PoolReading, ProcessReading, SourceReading
from amphora.lvs.configuration import LvsConfiguration, LvsMember, parse
from amphora.lvs.ipvs_counters import IpvsCounters, read_counters
from amphora.lvs.ipvs_table import Endpoint, IpvsService, VirtualService, read_table
from amphora.system import files, namespaces


@dataclass(frozen=True, slots=True)
class KernelReading:
    """Virtual services of the kernel at one moment.

    :ivar counters: None if they cannot be read; ``problem`` says why.
    """

    table: tuple[IpvsService, ...]
    counters: Mapping[VirtualService, IpvsCounters] | None
    problem: str = ""


def read_kernel() -> KernelReading:
    """Ask the kernel, in the network namespace of the calling thread."""
    table = read_table()
    try:
        return KernelReading(table, read_counters())
    except OperationFailed as error:
        return KernelReading(table, None, error.details)


class LvsSource:
    """The LVS listeners below a base path, whichever agent started them.

    A listener whose keepalived does not run, or that is switched off, is not reported: it serves no clients.

    :param namespace: network namespace of the virtual services; empty means the agent's own.
    :param kernel: asks the kernel; called inside the namespace.
    """

    def __init__(
        self,
        directory: LvsDirectory,
        namespace: str,
        kernel: Callable[[], KernelReading] = read_kernel,
    ) -> None:
        self._directory = directory
        self._namespace = namespace
        self._kernel = kernel
        #: Of each listener, as last read, for when the kernel's cannot be read.
        self._counted: dict[str, Counters] = {}

    def read(self, timeout: float) -> SourceReading:
        """Return the listener and the pool of every keepalived that runs.

        :raises AmphoraError: the files cannot be read, or the namespace cannot be entered.
        """
        layouts = self._directory.all()
        origins = frozenset(layout.id for layout in layouts)
        self._counted = {key: value for key, value in self._counted.items() if key in origins}
        running = [layout for layout in layouts if layout.processes.main() is not None]
        if not running:
            return SourceReading(origins=origins)
        kernel = namespaces.call_inside(self._namespace, self._kernel)
        processes: list[ProcessReading] = []
        problems: dict[str, str] = {}
        for layout in running:
            try:
                processes.extend(self._read_one(layout, kernel))
            except AmphoraError as error:
                problems[layout.id] = error.details
        if kernel.problem:
            problems["virtual services"] = kernel.problem
        return SourceReading(tuple(processes), origins, problems=problems)

    def close(self) -> None:
        """Nothing is held."""

    def _read_one(self, layout: LvsFiles, kernel: KernelReading) -> Iterable[ProcessReading]:
        configuration = parse(files.read_if_present(layout.stored) or b"")
        if not configuration.enabled:
            return
        reading = listener(layout.id, configuration, kernel.table, kernel.counters or {})
        if kernel.counters is None:
            reading = self._as_counted_last(reading)
        self._counted[layout.id] = reading.counters
        is_restarting = _is_restarting(layout, configuration)
        # The kernel keeps its counters while keepalived is replaced, so they are of no process.
        found = pools(configuration, kernel.table, is_restarting=is_restarting)
        yield ProcessReading(layout.id, "", (reading,), found)

    def _as_counted_last(self, reading: ListenerReading) -> ListenerReading:
        # As zero they would all be sent a second time with the next reading.
        return replace(reading, counters=self._counted.get(reading.id, Counters()))


def _is_restarting(layout: LvsFiles, configuration: LvsConfiguration) -> bool:
    """Whether the checker has not yet, or not with this configuration, set up members in the kernel."""
    if not configuration.services or layout.processes.checker() is None:
        return True
    stored, running = (files.read_if_present(path) for path in (layout.stored, layout.running))
    if running is not None and stored != running:
        return True
    path = layout.stored if running is None else layout.running
    try:
        written = path.stat().st_mtime
    except OSError:
        return True
    return not layout.processes.checker_began_after(written)


def listener(
    listener_id: str,
    configuration: LvsConfiguration,
    table: Iterable[IpvsService],
    counters: Mapping[VirtualService, IpvsCounters],
) -> ListenerReading:
    """Return a listener that runs; all its addresses count, of both IP versions."""
    own = set(configuration.services)
    total = sum((counters.get(service, IpvsCounters()) for service in own), IpvsCounters())
    active = sum(server.active for each in table if each.service in own for server in each.servers)
    return ListenerReading(
        listener_id, "OPEN", active, Counters(total.received, total.sent, total.connections)
    )


def pools(
    configuration: LvsConfiguration, table: Iterable[IpvsService], *, is_restarting: bool
) -> tuple[PoolReading, ...]:
    """Return the pool of a listener, if it has one.

    :param is_restarting: a member that is missing in the kernel may be there soon, or may not have to be.
    """
    pool = configuration.pool
    if pool is None:
        return ()
    weights = _weights(configuration, table)
    members = {
        member.id: _state(member, weights, monitored=pool.monitored, is_restarting=is_restarting)
        for member in pool.members
    }
    has_any = any(member.endpoint in weights for member in pool.enabled_members)
    is_up = has_any or not pool.monitored or not pool.enabled_members
    return (PoolReading(pool.id, "UP" if is_up else "DOWN", members),)


def _weights(configuration: LvsConfiguration, table: Iterable[IpvsService]) -> dict[Endpoint, int]:
    """Return the highest weight of each server: it is listed once for each virtual address."""
    own = set(configuration.services)
    weights: dict[Endpoint, int] = {}
    for each in table:
        for server in each.servers if each.service in own else ():
            weights[server.endpoint] = max(weights.get(server.endpoint, 0), server.weight)
    return weights


def _state(
    member: LvsMember, weights: Mapping[Endpoint, int], *, monitored: bool, is_restarting: bool
) -> str:
    if member.endpoint is None:
        return "MAINT"
    if weights.get(member.endpoint) == 0:
        return "DRAIN"
    if not monitored:
        return "no check"
    if member.endpoint in weights:
        return "UP"
    return "RESTARTING" if is_restarting else "DOWN"
