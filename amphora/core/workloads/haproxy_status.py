# SPDX-License-Identifier: Apache-2.0
"""Reads what instances are doing: from running processes first, from stored configuration last."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceDirectory, InstanceLayout
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

    def __init__(self, directory: InstanceDirectory, engine: HaproxyEngine) -> None:
        self._directory = directory
        self._engine = engine

    def all(self) -> list[InstanceStatus]:
        """Return the status of every instance that has left any trace: configuration, pid file or socket."""
        return [self._read(layout) for layout in self._directory.all() if leaves_a_trace(layout)]

    def one(self, instance_id: str) -> InstanceStatus:
        """Return the status of one instance.

        :raises InstanceNotFound: there is no trace of it.
        """
        layout = self._directory.layout(instance_id)
        if not leaves_a_trace(layout):
            raise InstanceNotFound(instance_id)
        return self._read(layout)

    def listeners(self) -> list[Listener]:
        """Return the listeners of all instances by id, whether they run or not. Asks no process."""
        configurations = (_readable(layout, prefer_running=False) for layout in self._directory.all())
        found = (
            Listener(frontend.name, protocol(frontend))
            for configuration in configurations
            if configuration is not None
            for frontend in configuration.listeners
        )
        return sorted(found, key=lambda listener: listener.id)

    def _read(self, layout: InstanceLayout) -> InstanceStatus:
        try:
            state = self._engine.status(layout).state
        except AmphoraError:
            state = ServiceState.FAILED
        is_running = state is ServiceState.RUNNING
        configuration = _readable(layout, prefer_running=is_running)
        if configuration is None or configuration.main_frontend is None:
            return InstanceStatus(layout.instance_id, InstanceState.ERROR, Protocol.TCP)
        kind = protocol(configuration.main_frontend)
        if is_running:
            rows = _statistics(layout)
            serves = configuration.expected_frontends() <= open_frontends(rows)
            condition = InstanceState.RUNNING if serves else InstanceState.ERROR
            return InstanceStatus(layout.instance_id, condition, kind, pool_health(rows, configuration))
        condition = InstanceState.STOPPED if state.is_at_rest else InstanceState.ERROR
        return InstanceStatus(layout.instance_id, condition, kind, pool_health_when_stopped(configuration))


def leaves_a_trace(layout: InstanceLayout) -> bool:
    """Whether anything of an instance is there: configuration, pid file or socket."""
    return any(path.exists() for path in (layout.stored, layout.pid_file, layout.stats_socket))


def _readable(layout: InstanceLayout, *, prefer_running: bool) -> Configuration | None:
    paths = (layout.running, layout.stored) if prefer_running else (layout.stored,)
    for path in paths:
        try:
            data = files.read_if_present(path)
            if data is not None:
                return parse(data)
        except InvalidConfiguration:
            return None
    return None


def _statistics(layout: InstanceLayout) -> tuple[StatRow, ...]:
    try:
        return StatsSocket(layout.answering_socket(), _STATS_TIMEOUT).statistics()
    except AmphoraError:
        return ()
