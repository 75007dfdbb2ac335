# SPDX-License-Identifier: Apache-2.0
"""The fake keeps the part of the contract that needs no processes, and fails when told to."""

from __future__ import annotations

from pathlib import Path

import pytest

from amphora.errors import ServiceError
from amphora.models import ServiceSpec, ServiceState
from amphora.testing.fake_process_manager import FakeMachine, FakeProcessManager
from amphora.testing.process_manager import ProcessManagerContract
from amphora.testing.service_bench import ServiceBench


class TestFakeProcessManager(ProcessManagerContract):
    @pytest.fixture(autouse=True)
    def _machine(self) -> None:
        self.machine = FakeMachine()

    def build(self, directory: Path) -> FakeProcessManager:
        return FakeProcessManager(self.machine)

    def crash(self, bench: ServiceBench, name: str) -> None:
        assert isinstance(bench.manager, FakeProcessManager)
        bench.manager.crash(name)


SPEC = ServiceSpec("web", "A service", ("/bin/web",))


def test_fails_once_when_told_to():
    manager = FakeProcessManager()
    manager.install(SPEC)
    manager.fail_next("start", ServiceError("no room"))
    with pytest.raises(ServiceError, match="no room"):
        manager.start("web")
    assert manager.status("web").state is ServiceState.STOPPED
    assert manager.status("web").last_error == "no room"
    manager.start("web")
    assert manager.status("web").state is ServiceState.RUNNING


def test_failed_reload_leaves_the_service_running():
    manager = FakeProcessManager()
    manager.install(SPEC)
    manager.start("web")
    manager.fail_next("reload", ServiceError("check failed"))
    with pytest.raises(ServiceError, match="check failed"):
        manager.reload("web")
    assert manager.status("web").state is ServiceState.RUNNING


def test_knows_what_was_asked_of_it():
    manager = FakeProcessManager()
    manager.install(SPEC)
    manager.start("web")
    manager.stop("web")
    assert manager.machine.calls == [("install", "web"), ("start", "web"), ("stop", "web")]


def test_cannot_be_told_to_fail_in_an_unknown_method():
    with pytest.raises(ValueError, match="explode"):
        FakeProcessManager().fail_next("explode", ServiceError("x"))
