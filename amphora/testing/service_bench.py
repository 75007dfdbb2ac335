# SPDX-License-Identifier: Apache-2.0
"""What the contract suite of process managers works with: a driver, services, and a way to look at them."""

from __future__ import annotations

import abc
import itertools
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amphora.drivers.process_manager.base import ProcessManager
from amphora.models import Readiness, RestartPolicy, ServiceSpec, ServiceState, ServiceStatus
from amphora.system.processes import identify
from amphora.testing.scratch import DriverSuite

_PROGRAM = Path(__file__).with_name("service_program.py")
_POLL_INTERVAL = 0.02


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 15.0) -> None:
    """Return once a condition holds; fail when it does not hold within so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(_POLL_INTERVAL)


def program(*options: str) -> tuple[str, ...]:
    """Return the command of the test service with these options."""
    return (sys.executable, "-I", "-S", str(_PROGRAM), *options)


class ServiceBench:
    """A driver under test over a directory of its own.

    :param build: makes the driver; called again with the same directory it plays the agent's restart.
    :ivar manager: the driver now.
    :ivar directory: for its state, and for the files of services.
    """

    def __init__(self, build: Callable[[Path], ProcessManager], directory: Path) -> None:
        self._build = build
        self._names: list[str] = []
        self._counter = itertools.count(1)
        self._prefix = f"contract-{os.getpid()}-{secrets.token_hex(2)}"
        self.directory = directory
        self.manager = self._built()

    def restart_agent(self) -> None:
        """End the driver and make a new one over the same state."""
        self.manager.close()
        self.manager = self._built()

    def spec(self, *options: str, **changes: Any) -> ServiceSpec:
        """Return the spec of a new service that runs the test program with these options."""
        name = f"{self._prefix}-{next(self._counter)}"
        plain = ServiceSpec(
            name=name,
            description="A service of the contract suite",
            argv=program(*options),
            reload_signal=signal.SIGUSR2,
            restart=RestartPolicy(delay=0.1, max_delay=1.0),
            start_timeout=15.0,
            stop_timeout=5.0,
        )
        return replace(plain, **changes)

    def notifying(self, *options: str, **changes: Any) -> ServiceSpec:
        """Return the spec of a new service that says when it is ready."""
        return self.spec("--notify", *options, readiness=Readiness.NOTIFY, **changes)

    def install(self, spec: ServiceSpec) -> str:
        """Install a service that is removed after the test; return its name."""
        self._names.append(spec.name)
        self.manager.install(spec)
        return spec.name

    def started(self, spec: ServiceSpec) -> str:
        """Install and start a service; return its name."""
        name = self.install(spec)
        self.manager.start(name)
        return name

    def file(self, name: str) -> Path:
        """Return a path for a service of this test to write to."""
        return self.directory / name

    def running_pid(self, name: str) -> int:
        """Return the main process of a service that must be running now."""
        status = self.expect(name, ServiceState.RUNNING)
        assert status.pid is not None, "status() says running and gives no process id"
        return status.pid

    def expect(self, name: str, state: ServiceState) -> ServiceStatus:
        """Return the status of a service that must be in this state now."""
        status = self.manager.status(name)
        assert status.state is state, f"status() says {in_words(status)}, and it must be {state.value}"
        return status

    def expect_unchanged(self, name: str, before: ServiceStatus) -> None:
        """Fail unless a service is the very same process in the very same state."""
        now = self.manager.status(name)
        assert now == before, f"the service was {in_words(before)} before and is {in_words(now)} now"

    def wait_for_new_pid(self, name: str, former: int) -> int:
        """Return the main process once the service runs again as another one."""

        def runs_again() -> bool:
            status = self.manager.status(name)
            return status.state is ServiceState.RUNNING and status.pid not in (None, former)

        wait_until(runs_again, f"{name} runs again with a new process")
        return self.running_pid(name)

    def wait_for_state(self, name: str, state: ServiceState) -> ServiceStatus:
        """Return the status once a service is in this state."""
        wait_until(lambda: self.manager.status(name).state is state, f"{name} is {state.value}")
        return self.manager.status(name)

    def close(self) -> None:
        """Remove all services and end the driver."""
        try:
            for name in self._names:
                self.manager.remove(name)
        finally:
            self.manager.close()

    def _built(self) -> ProcessManager:
        manager = self._build(self.directory)
        manager.supervise()
        return manager


def in_words(status: ServiceStatus) -> str:
    """Return a status as a person would say it."""
    process = f" as process {status.pid}" if status.pid else ""
    since = f" since {status.started_at:%H:%M:%S.%f}" if status.started_at else ""
    return f"{status.state.value}{process}{since}" + (f" ({status.last_error})" if status.last_error else "")


def read_report(path: Path) -> dict[str, Any]:
    """Return what the test program saw from inside, once it has written it."""
    wait_until(path.exists, f"{path} is written")
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return identify(pid) is not None


class ServiceFixtures(DriverSuite):
    """What all parts of the suite of process managers build on."""

    @abc.abstractmethod
    def build(self, directory: Path) -> ProcessManager:
        """Return a driver with its state in this directory, if it needs one.

        Called again with the same directory to play the agent's restart.
        """

    @pytest.fixture
    def bench(self, scratch_directory: Path) -> Iterator[ServiceBench]:
        """Give a driver, already supervising; services of the test are removed afterwards."""
        bench = ServiceBench(self.build, scratch_directory)
        try:
            yield bench
        finally:
            bench.close()
