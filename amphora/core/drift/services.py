# SPDX-License-Identifier: Apache-2.0
"""Drift of services: those that should run against the processes that do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from amphora.core.drift.configurations import AnyWorkload
from amphora.models import Difference, DriftArea, DriftReason, ServiceState, ServiceStatus
from amphora.system import processes


class ServiceInspector:
    """Asks the process manager what should run, and the processes whether it does.

    :param workloads: returns those there are.
    :param is_pending: whether a start would load more than what ran before.
    """

    group = "services"
    areas = frozenset({DriftArea.SERVICES})

    def __init__(
        self, workloads: Callable[[], Iterable[AnyWorkload]], is_pending: Callable[[AnyWorkload], bool]
    ) -> None:
        self._workloads = workloads
        self._is_pending = is_pending

    def targets(self) -> list[str]:
        """Return the lock of each service."""
        return [workload.id for workload in self._workloads()]

    def inspect(self, target: str) -> list[Difference]:
        """Compare one service with its process."""
        found = []
        for workload in self._of(target):
            status = workload.status()
            if status.state is ServiceState.FAILED:
                found.append(_broken(workload, DriftReason.SERVICE_FAILED, status))
            elif status.state is ServiceState.STARTING:
                found.append(_broken(workload, DriftReason.SERVICE_RESTARTING, status))
            elif status.state.is_at_rest:
                found += _unmanaged(workload)
        return found

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Start what failed; what restarts by itself, or runs unmanaged, is left alone.

        A configuration that waits for its start is the controller's to start.
        """
        if not any(each.reason is DriftReason.SERVICE_FAILED for each in differences):
            return ""
        return "; ".join(str(each.start()) for each in self._of(target) if not self._is_pending(each))

    def _of(self, target: str) -> list[AnyWorkload]:
        return [workload for workload in self._workloads() if workload.id == target]


def _broken(workload: AnyWorkload, reason: DriftReason, status: ServiceStatus) -> Difference:
    found = f"{status.state.value}: {status.last_error}" if status.last_error else status.state.value
    return Difference(DriftArea.SERVICES, workload.files.service_name, reason, "running", found)


def _unmanaged(workload: AnyWorkload) -> list[Difference]:
    pid = processes.read_pid_file(workload.files.pid_file)
    if pid is None or str(workload.files.argument) not in processes.command_line(pid):
        return []
    reason, found = DriftReason.SERVICE_UNMANAGED, f"running as process {pid}"
    return [Difference(DriftArea.SERVICES, workload.files.service_name, reason, "stopped", found)]
