# SPDX-License-Identifier: Apache-2.0
"""Reads all LVS listeners in one pass: their files, and what the kernel tells. No process is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from amphora.core.lvs.layout import LvsDirectory, LvsLayout
from amphora.errors import AmphoraError, OperationFailed
from amphora.health import lvs_rows
from amphora.health.readings import Counters, ListenerReading, ProcessReading, SourceReading
from amphora.lvs.configuration import LvsConfiguration, parse
from amphora.lvs.ipvs_counters import IpvsCounters, read_counters
from amphora.lvs.ipvs_table import IpvsService, read_table
from amphora.lvs.services import VirtualService
from amphora.system import files, namespaces


@dataclass(frozen=True, slots=True)
class KernelReading:
    """What the kernel tells of virtual services at one moment.

    :ivar counters: None where it does not tell, and ``problem`` says why.
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

    A listener whose keepalived does not run, or that is switched off, is not told: it serves nobody.

    :param namespace: where keepalived tells the kernel what to do; empty means the agent's own.
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
        #: Of each listener, as last read: the kernel may once not tell.
        self._counted: dict[str, Counters] = {}

    def read(self, patience: float) -> SourceReading:
        """Return the listener and the pool of every keepalived that runs.

        :raises AmphoraError: the files cannot be read, or the namespace not be entered.
        """
        layouts = self._directory.all()
        origins = frozenset(layout.listener_id for layout in layouts)
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
                problems[layout.listener_id] = error.details
        if kernel.problem:
            problems["virtual services"] = kernel.problem
        return SourceReading(tuple(processes), origins, problems=problems)

    def close(self) -> None:
        """Nothing is held."""

    def _read_one(self, layout: LvsLayout, kernel: KernelReading) -> Iterable[ProcessReading]:
        configuration = parse(files.read_if_present(layout.stored) or b"")
        if not configuration.enabled:
            return
        reading = lvs_rows.listener(layout.listener_id, configuration, kernel.table, kernel.counters or {})
        if kernel.counters is None:
            reading = self._as_counted_last(reading)
        self._counted[layout.listener_id] = reading.counters
        is_restarting = _is_restarting(layout, configuration)
        pools = lvs_rows.pools(configuration, kernel.table, is_restarting=is_restarting)
        # The kernel keeps its counters while keepalived is replaced, so they are of no process.
        yield ProcessReading(layout.listener_id, "", (reading,), pools)

    def _as_counted_last(self, reading: ListenerReading) -> ListenerReading:
        # As zero they would all be told a second time with the next reading.
        return replace(reading, counters=self._counted.get(reading.id, Counters()))


def _is_restarting(layout: LvsLayout, configuration: LvsConfiguration) -> bool:
    """Whether the checker has not yet, or not with this configuration, told the kernel about members."""
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
