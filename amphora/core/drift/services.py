# SPDX-License-Identifier: Apache-2.0
"""Drift of services: those that are to run against the processes that do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.base import ProcessManager
from amphora.models import Difference, DriftArea, DriftReason, ServiceState, ServiceStatus
from amphora.system import processes


@dataclass(frozen=True, slots=True)
class WatchedService:
    """A service, and what it belongs to.

    :ivar target: name of the lock under which it is changed.
    :ivar pid_file: its own.
    :ivar argument: a word of its command line that no other process has.
    :ivar start: the use case that starts it.
    :ivar is_pending: whether a start would take up more than what ran before.
    """

    target: str
    name: str
    pid_file: Path
    argument: str
    start: Callable[[], object]
    is_pending: Callable[[], bool]


class ServiceInspector:
    """Asks the process manager what is to run, and the processes whether it does.

    :param watched: returns the services there are.
    """

    group = "services"
    areas = frozenset({DriftArea.SERVICES})

    def __init__(self, services: ProcessManager, watched: Callable[[], Iterable[WatchedService]]) -> None:
        self._services = services
        self._watched = watched

    def targets(self) -> list[str]:
        """Return the lock of each service."""
        return [service.target for service in self._watched()]

    def look(self, target: str) -> list[Difference]:
        """Compare one service with its process."""
        found = []
        for service in self._of(target):
            status = self._services.status(service.name)
            if status.state is ServiceState.FAILED:
                found.append(_broken(service, DriftReason.SERVICE_FAILED, status))
            elif status.state is ServiceState.STARTING:
                found.append(_broken(service, DriftReason.SERVICE_RESTARTING, status))
            elif status.state.is_at_rest:
                found += _unmanaged(service)
        return found

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Start what failed; what restarts by itself, or runs unknown to everybody, is left alone.

        A configuration that waits to be taken up is for whoever stored it to start.
        """
        if not any(each.reason is DriftReason.SERVICE_FAILED for each in differences):
            return ""
        return "; ".join(str(service.start()) for service in self._of(target) if not service.is_pending())

    def _of(self, target: str) -> list[WatchedService]:
        return [service for service in self._watched() if service.target == target]


def _broken(service: WatchedService, reason: DriftReason, status: ServiceStatus) -> Difference:
    found = f"{status.state.value}: {status.last_error}" if status.last_error else status.state.value
    return Difference(DriftArea.SERVICES, service.name, reason, "running", found)


def _unmanaged(service: WatchedService) -> list[Difference]:
    pid = processes.read_pid_file(service.pid_file)
    if pid is None or service.argument not in processes.command_line(pid):
        return []
    reason, found = DriftReason.SERVICE_UNMANAGED, f"running as process {pid}"
    return [Difference(DriftArea.SERVICES, service.name, reason, "stopped", found)]
