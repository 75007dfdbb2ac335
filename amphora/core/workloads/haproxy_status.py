# SPDX-License-Identifier: Apache-2.0
"""Reads what instances are doing: from running processes first, from stored configuration last."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.errors import AmphoraError, InstanceNotFound, InvalidConfiguration
from amphora.haproxy.control.pool_health import PoolHealth, pool_health, pool_health_when_stopped
from amphora.haproxy.control.stats import StatRow, StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import Configuration, parse, protocol
from amphora.models import InstanceState, Protocol, ServiceState
from amphora.system import files

_STATS_TIMEOUT = 1.0


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """One instance at one moment.

    :ivar protocol: of its first frontend; TCP where the configuration cannot be read.
    """

    id: str
    state: InstanceState
    protocol: Protocol
    pools: tuple[PoolHealth, ...] = ()


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener of an instance, as its stored configuration has it.

    :ivar protocol: what it speaks to its clients.
    """

    id: str
    protocol: Protocol


class StatusReader:
    """Answers status questions. It takes no lock, forks nothing, and asks each haproxy for at most 1 s."""

    def __init__(self, catalog: WorkloadCatalog) -> None:
        self._catalog = catalog

    def all(self) -> list[InstanceStatus]:
        """Return the status of every instance that has left any trace: configuration, pid file or socket."""
        return [_status(each) for each in self._catalog.haproxies() if each.files.leave_a_trace()]

    def one(self, instance_id: str) -> InstanceStatus:
        """Return the status of one instance.

        :raises InstanceNotFound: there is no trace of it.
        """
        instance = self._catalog.haproxy(instance_id)
        if not instance.files.leave_a_trace():
            raise InstanceNotFound(instance_id)
        return _status(instance)

    def listeners(self) -> list[Listener]:
        """Return the listeners of all instances by id, whether they run or not. Asks no process."""
        configurations = (_readable(each.files, prefer_running=False) for each in self._catalog.haproxies())
        found = (
            Listener(frontend.name, protocol(frontend))
            for configuration in configurations
            if configuration is not None
            for frontend in configuration.listeners
        )
        return sorted(found, key=lambda listener: listener.id)


def _status(instance: HaproxyWorkload) -> InstanceStatus:
    state = instance.state()
    is_running = state is ServiceState.RUNNING
    configuration = _readable(instance.files, prefer_running=is_running)
    if configuration is None or configuration.main_frontend is None:
        return InstanceStatus(instance.id, InstanceState.ERROR, Protocol.TCP)
    kind = protocol(configuration.main_frontend)
    if is_running:
        rows = _statistics(instance.files)
        serves = configuration.expected_frontends() <= open_frontends(rows)
        condition = InstanceState.RUNNING if serves else InstanceState.ERROR
        return InstanceStatus(instance.id, condition, kind, pool_health(rows, configuration))
    condition = InstanceState.STOPPED if state.is_at_rest else InstanceState.ERROR
    return InstanceStatus(instance.id, condition, kind, pool_health_when_stopped(configuration))


def _readable(own_files: HaproxyFiles, *, prefer_running: bool) -> Configuration | None:
    paths = (own_files.running, own_files.stored) if prefer_running else (own_files.stored,)
    for path in paths:
        try:
            data = files.read_if_present(path)
            if data is not None:
                return parse(data)
        except InvalidConfiguration:
            return None
    return None


def _statistics(own_files: HaproxyFiles) -> tuple[StatRow, ...]:
    try:
        return StatsSocket(own_files.answering_socket(), _STATS_TIMEOUT).statistics()
    except AmphoraError:
        return ()
