# SPDX-License-Identifier: Apache-2.0
"""A process manager without processes, for tests of what stands above it."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.base import ProcessManager
from amphora.drivers.process_manager.specs import check_spec
from amphora.errors import AmphoraError, ServiceError
from amphora.models import ServiceSpec, ServiceState, ServiceStatus

_ABSENT = ServiceStatus(ServiceState.ABSENT)
_STOPPED = ServiceStatus(ServiceState.STOPPED)


@dataclass(slots=True)
class FakeMachine:
    """What outlives an agent: give the same one to two managers to play a restart.

    :ivar specs: what is installed.
    :ivar statuses: how each service does.
    :ivar calls: what was asked of all managers of this machine, in order: method and service name.
    """

    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    statuses: dict[str, ServiceStatus] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    pids: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))


class FakeProcessManager(ProcessManager):
    """Keeps the contract in memory: every start succeeds at once unless :meth:`fail_next` was called.

    A service whose restart delay is a second or more waits for :meth:`start` after a crash; others
    are up again at once.
    """

    def __init__(self, machine: FakeMachine | None = None) -> None:
        self.machine = machine or FakeMachine()
        self._lock = threading.Lock()
        self._failures: dict[str, list[AmphoraError]] = defaultdict(list)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build a manager over a machine of its own."""
        return cls()

    def fail_next(self, method: str, error: AmphoraError) -> None:
        """Make the next call of a method raise; may be given several times, for the calls after.

        A failing start leaves the service stopped, as the contract says; all else changes nothing.

        :param method: ``check_available``, ``install``, ``start``, ``stop``, ``remove``, ``reload``,
            ``status`` or ``supervise``.
        """
        if not callable(getattr(ProcessManager, method, None)):
            raise ValueError(f"{method} is no method of process managers")
        self._failures[method].append(error)

    def crash(self, name: str, reason: str = "was killed by SIGKILL") -> None:
        """End the main process of a running service behind the manager's back."""
        with self._lock:
            policy = self.machine.specs[name].restart
            if not policy.on_crash:
                self._set(name, ServiceStatus(ServiceState.FAILED, last_error=reason))
            elif policy.delay >= 1:
                self._set(name, ServiceStatus(ServiceState.STARTING, last_error=reason))
            else:
                self._set(name, replace(self._running(), last_error=reason))

    def check_available(self) -> None:
        """See the contract."""
        self._called("check_available")

    def install(self, spec: ServiceSpec) -> None:
        """See the contract."""
        with self._lock:
            self._called("install", spec.name)
            check_spec(spec)
            self.machine.specs[spec.name] = spec
            self.machine.statuses.setdefault(spec.name, _STOPPED)

    def remove(self, name: str) -> None:
        """See the contract."""
        with self._lock:
            self._called("remove", name)
            self.machine.specs.pop(name, None)
            self.machine.statuses.pop(name, None)

    def start(self, name: str) -> None:
        """See the contract."""
        with self._lock:
            self._required(name)
            try:
                self._called("start", name)
            except ServiceError as error:
                self._set(name, ServiceStatus(ServiceState.STOPPED, last_error=error.details))
                raise
            if self.machine.statuses[name].state is not ServiceState.RUNNING:
                self._set(name, self._running())

    def stop(self, name: str) -> None:
        """See the contract."""
        with self._lock:
            self._called("stop", name)
            if name in self.machine.specs:
                self._set(name, _STOPPED)

    def reload(self, name: str) -> None:
        """See the contract."""
        with self._lock:
            self._required(name)
            if self.machine.statuses[name].state is not ServiceState.RUNNING:
                raise ServiceError(f"service {name} does not run, so it cannot be reloaded")
            self._called("reload", name)

    def status(self, name: str) -> ServiceStatus:
        """See the contract. Not noted among the calls."""
        self._raise_if_told("status")
        return self.machine.statuses.get(name, _ABSENT)

    def supervise(self) -> None:
        """See the contract."""
        self._called("supervise")

    def close(self) -> None:
        """See the contract."""
        self._called("close")

    def _called(self, method: str, name: str = "") -> None:
        self.machine.calls.append((method, name))
        self._raise_if_told(method)

    def _raise_if_told(self, method: str) -> None:
        if self._failures[method]:
            raise self._failures[method].pop(0)

    def _required(self, name: str) -> None:
        if name not in self.machine.specs:
            raise ServiceError(f"service {name} is not installed")

    def _running(self) -> ServiceStatus:
        return ServiceStatus(ServiceState.RUNNING, next(self.machine.pids), datetime.now(UTC))

    def _set(self, name: str, status: ServiceStatus) -> None:
        self.machine.statuses[name] = status
