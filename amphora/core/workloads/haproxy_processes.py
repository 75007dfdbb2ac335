# SPDX-License-Identifier: Apache-2.0
"""The processes of instances: master, worker, and the old workers that only finish their connections.

All of it comes from ``/proc``. The master's own list would have to be waited for: a master answers nothing
while it reads a configuration, and one that another agent has started may have no socket.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.errors import AmphoraError, InstanceNotFound
from amphora.haproxy.control.master import workers_of
from amphora.haproxy.control.old_workers import OldWorkerWarnings
from amphora.haproxy.overlay import ANY_NUMBER, RELOAD_LIMIT
from amphora.haproxy.reading.configuration import parse
from amphora.haproxy.reading.section_lines import global_values
from amphora.models import ServiceState, ServiceStatus
from amphora.system import files, processes
from amphora.system.processes import ProcessIdentity

LOG = logging.getLogger(__name__)

Workers = Mapping[int, Sequence[ProcessIdentity]]


@dataclass(frozen=True, slots=True)
class InstanceProcesses:
    """One instance at one moment.

    :ivar state: of its service.
    :ivar worker: the one that takes new connections.
    :ivar old_workers: those that reloads have replaced, oldest first.
    """

    id: str
    state: ServiceState
    master: ProcessIdentity | None = None
    worker: ProcessIdentity | None = None
    old_workers: tuple[ProcessIdentity, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """What bounds old workers, in the form that haproxy has it; None: nothing does.

    :ivar drain_time: ``hard-stop-after``, such as ``30s``.
    :ivar reloads: ``mworker-max-reloads``, such as ``3``.
    """

    drain_time: str | None = None
    reloads: str | None = None


class ProcessReader:
    """Reads the processes of instances. Takes no lock of theirs, never forks and never waits.

    :param status: returns the status of an instance's service.
    :param workers_of: returns the workers of master processes, oldest first.
    :ivar max_old_workers: that the agent lets have clients after a reload; None for any number.
    """

    def __init__(
        self,
        directory: HaproxyDirectory,
        status: Callable[[HaproxyFiles], ServiceStatus],
        workers_of: Callable[[Collection[int]], Workers] = workers_of,
        max_old_workers: int | None = None,
    ) -> None:
        self.max_old_workers = max_old_workers
        self._directory = directory
        self._status = status
        self._workers_of = workers_of
        self._warnings = OldWorkerWarnings()

    def all(self) -> list[InstanceProcesses]:
        """Return the processes of every instance that has left any trace, sorted by id."""
        found = self._read([layout for layout in self._directory.all() if layout.leave_a_trace()])
        self._warnings.count({each.id: each.old_workers for each in found})
        return found

    def one(self, instance_id: str) -> InstanceProcesses:
        """Return the processes of one instance.

        :raises InstanceNotFound: there is no trace of it.
        """
        for layout in self._directory.all():
            if layout.id == instance_id and layout.leave_a_trace():
                return self._read([layout])[0]
        raise InstanceNotFound(instance_id)

    def watch(self) -> None:
        """Warn of instances that have come to have many old workers. For after each change; never fails."""
        try:
            self.all()
        except (AmphoraError, OSError) as error:
            LOG.warning("could not count old workers: %s", error)

    def _read(self, layouts: Sequence[HaproxyFiles]) -> list[InstanceProcesses]:
        services = {layout.id: self._service(layout) for layout in layouts}
        workers = self._workers_of({each.pid for each in services.values() if each.pid is not None})
        return [_processes(name, service, workers) for name, service in services.items()]

    def _service(self, layout: HaproxyFiles) -> ServiceStatus:
        try:
            return self._status(layout)
        except AmphoraError:
            return ServiceStatus(ServiceState.FAILED)


def limits_of(master: ProcessIdentity | None) -> WorkerLimits:
    """Return what bounds the old workers of a running haproxy, by the files that it was started with."""
    values: dict[str, tuple[str, ...]] = {}
    for path in _configuration_files(master):
        try:
            values |= global_values(parse(files.read_if_present(path) or b"").lines)
        except AmphoraError:
            # Others may have put something else there since.
            continue
    drain_time, reloads = values.get("hard-stop-after", ()), values.get(RELOAD_LIMIT, ())
    bounded = reloads != (str(ANY_NUMBER),)
    return WorkerLimits(" ".join(drain_time) or None, " ".join(reloads) or None if bounded else None)


def _configuration_files(master: ProcessIdentity | None) -> Iterator[Path]:
    arguments = processes.command_line(master.pid) if master else ()
    yield from (Path(after) for option, after in pairwise(arguments) if option == "-f")


def _processes(name: str, service: ServiceStatus, of_masters: Workers) -> InstanceProcesses:
    if service.pid is None:
        return InstanceProcesses(name, service.state)
    workers = of_masters[service.pid]
    return InstanceProcesses(
        name,
        service.state,
        processes.identify(service.pid),
        workers[-1] if workers else None,
        tuple(workers[:-1]),
    )
