# SPDX-License-Identifier: Apache-2.0
"""Reads what workloads are doing: from running processes first, from stored configuration last."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.workloads.files import WorkloadFiles
from amphora.core.workloads.haproxy_files import HaproxyDirectory, HaproxyFiles
from amphora.core.workloads.lvs_files import LvsDirectory, LvsFiles
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import AmphoraError, InstanceNotFound, InvalidConfiguration
from amphora.haproxy.control.pool_health import PoolHealth, pool_health, pool_health_when_stopped
from amphora.haproxy.control.stats import StatRow, StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import Configuration, parse, protocol
from amphora.lvs import configuration as lvs_configuration
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


@dataclass(frozen=True, slots=True)
class LvsStatus:
    """One LVS listener at one moment.

    :ivar state: STOPPED also if it runs and has nothing to serve, as a listener without a pool.
    """

    id: str
    state: InstanceState


class StatusReader:
    """Answers status questions. It takes no lock, forks nothing, and asks each haproxy for at most 1 s."""

    def __init__(self, haproxy: HaproxyDirectory, lvs: LvsDirectory, services: ProcessManager) -> None:
        self._haproxy = haproxy
        self._lvs = lvs
        self._services = services

    def all(self) -> list[InstanceStatus]:
        """Return the status of every instance that has left any trace: configuration, pid file or socket."""
        return [self._read(own) for own in self._haproxy.all() if own.leave_a_trace()]

    def one(self, instance_id: str) -> InstanceStatus:
        """Return the status of one instance.

        :raises InstanceNotFound: there is no trace of it.
        """
        own = self._haproxy.files(instance_id)
        if not own.leave_a_trace():
            raise InstanceNotFound(instance_id)
        return self._read(own)

    def listeners(self) -> list[Listener]:
        """Return the listeners of all instances by id, whether they run or not. Asks no process."""
        configurations = (_readable(own, prefer_running=False) for own in self._haproxy.all())
        found = (
            Listener(frontend.name, protocol(frontend))
            for configuration in configurations
            if configuration is not None
            for frontend in configuration.listeners
        )
        return sorted(found, key=lambda listener: listener.id)

    def lvs_listeners(self) -> list[LvsStatus]:
        """Return the status of every LVS listener with a stored configuration, sorted by id."""
        return [LvsStatus(own.id, self._lvs_state(own)) for own in self._lvs.all()]

    def lvs_process_count(self) -> int:
        """Return how many LVS listeners have a live keepalived."""
        return sum(own.processes.main() is not None for own in self._lvs.all())

    def _read(self, own: HaproxyFiles) -> InstanceStatus:
        state = self._state(own)
        is_running = state is ServiceState.RUNNING
        configuration = _readable(own, prefer_running=is_running)
        if configuration is None or configuration.main_frontend is None:
            return InstanceStatus(own.id, InstanceState.ERROR, Protocol.TCP)
        kind = protocol(configuration.main_frontend)
        if is_running:
            rows = _statistics(own)
            serves = configuration.expected_frontends() <= open_frontends(rows)
            condition = InstanceState.RUNNING if serves else InstanceState.ERROR
            return InstanceStatus(own.id, condition, kind, pool_health(rows, configuration))
        condition = InstanceState.STOPPED if state.is_at_rest else InstanceState.ERROR
        return InstanceStatus(own.id, condition, kind, pool_health_when_stopped(configuration))

    def _lvs_state(self, own: LvsFiles) -> InstanceState:
        if own.processes.main() is not None:
            # What runs is what counts; another agent that was here before kept no file of that.
            data = files.read_if_present(own.running) or files.read_if_present(own.stored) or b""
            serves = lvs_configuration.parse(data).services
            return InstanceState.RUNNING if serves else InstanceState.STOPPED
        is_gone = own.pid_file.exists() or not self._state(own).is_at_rest
        return InstanceState.ERROR if is_gone else InstanceState.STOPPED

    def _state(self, own: WorkloadFiles) -> ServiceState:
        try:
            return self._services.status(own.service_name).state
        except AmphoraError:
            return ServiceState.FAILED


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
