# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The contract of process managers as tests, for authors of drivers.

Inherit both classes in a test module and say how to build the driver::

    class TestMyProcessManager(ProcessManagerContract, ProcessManagerProcessContract):
        def build(self, directory):
            return MyProcessManager(directory / "state", CommandRunner())

The suite needs pytest and real processes; a driver that runs none takes :class:`ProcessManagerContract`
only and overrides ``crash``. The other class is in :mod:`amphora.testing.process_manager_processes`.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceState
from amphora.testing.service_bench import ServiceBench, ServiceFixtures, wait_until


class ProcessManagerContract(ServiceFixtures):
    """What can be seen through the contract alone."""

    def crash(self, bench: ServiceBench, name: str) -> None:
        """End the main process of a service behind the driver's back."""
        os.kill(bench.running_pid(name), signal.SIGKILL)

    def test_is_available_here(self, bench: ServiceBench) -> None:
        bench.manager.check_available()

    def test_unknown_name_is_absent(self, bench: ServiceBench) -> None:
        for name in ("contract-unknown", "", "../evil", "a b"):
            bench.expect(name, ServiceState.ABSENT)

    def test_unknown_name_can_be_stopped_and_removed(self, bench: ServiceBench) -> None:
        bench.manager.stop("contract-unknown")
        bench.manager.remove("contract-unknown")

    def test_unknown_name_cannot_be_started_or_reloaded(self, bench: ServiceBench) -> None:
        with pytest.raises(ServiceError, match="contract-unknown"):
            bench.manager.start("contract-unknown")
        with pytest.raises(ServiceError, match="contract-unknown"):
            bench.manager.reload("contract-unknown")

    def test_unusable_specs_are_refused(self, bench: ServiceBench) -> None:
        spec = bench.spec()
        for bad in (
            replace(spec, name="../evil"),
            replace(spec, argv=("relative", "path")),
            replace(spec, argv=()),
            replace(spec, argv=("/bin/true", "a\0b")),
            replace(spec, readiness=Readiness.FORKING),
            replace(spec, environment={"BAD NAME": "x"}),
            replace(spec, namespace="../evil"),
        ):
            with pytest.raises(ServiceError):
                bench.manager.install(bad)
            bench.expect(bad.name, ServiceState.ABSENT)

    def test_installed_service_is_stopped(self, bench: ServiceBench) -> None:
        name = bench.install(bench.spec())
        status = bench.manager.status(name)
        assert (status.state, status.pid, status.started_at) == (ServiceState.STOPPED, None, None)

    def test_started_service_runs_since_now(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        status = bench.manager.status(name)
        assert status.state is ServiceState.RUNNING
        assert status.pid is not None
        assert status.started_at is not None
        assert abs(datetime.now(UTC) - status.started_at) < timedelta(seconds=20)

    def test_start_of_a_running_service_changes_nothing(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec())
        before = bench.manager.status(name)
        bench.manager.start(name)
        bench.expect_unchanged(name, before)

    def test_install_again_changes_nothing(self, bench: ServiceBench) -> None:
        spec = bench.spec()
        name = bench.started(spec)
        before = bench.manager.status(name)
        bench.manager.install(spec)
        bench.expect_unchanged(name, before)

    def test_install_of_a_changed_spec_leaves_the_process(self, bench: ServiceBench) -> None:
        spec = bench.spec()
        name = bench.started(spec)
        before = bench.manager.status(name)
        bench.manager.install(replace(spec, argv=(*spec.argv, "--", "changed")))
        bench.expect_unchanged(name, before)

    def test_stop_may_be_repeated(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec())
        for _ in range(2):
            bench.manager.stop(name)
            bench.expect(name, ServiceState.STOPPED)
            assert bench.manager.status(name).pid is None

    def test_stopped_service_can_be_started_again(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec())
        former = bench.running_pid(name)
        bench.manager.stop(name)
        bench.manager.start(name)
        assert bench.running_pid(name) != former

    def test_removed_service_is_absent(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec())
        for _ in range(2):
            bench.manager.remove(name)
            bench.expect(name, ServiceState.ABSENT)
        with pytest.raises(ServiceError):
            bench.manager.start(name)

    def test_removed_service_can_be_installed_anew(self, bench: ServiceBench) -> None:
        spec = bench.spec()
        name = bench.started(spec)
        bench.manager.remove(name)
        bench.started(spec)
        assert bench.running_pid(name)

    def test_reload_keeps_the_process(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying("--signals", str(bench.file("signals"))))
        before = bench.manager.status(name)
        bench.manager.reload(name)
        bench.expect_unchanged(name, before)

    def test_reload_of_a_stopped_service_is_refused(self, bench: ServiceBench) -> None:
        name = bench.install(bench.spec())
        with pytest.raises(ServiceError, match="does not run"):
            bench.manager.reload(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_crashed_service_is_started_again(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        for _ in range(2):
            former = bench.running_pid(name)
            self.crash(bench, name)
            bench.wait_for_new_pid(name, former)

    def test_crashed_service_without_restart_is_failed(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec(restart=RestartPolicy(on_crash=False)))
        self.crash(bench, name)
        status = bench.wait_for_state(name, ServiceState.FAILED)
        assert status.pid is None
        wait_until(lambda: "SIGKILL" in bench.manager.status(name).last_error, "the reason is known")
        bench.manager.stop(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_service_waiting_for_its_restart_is_starting(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec(restart=RestartPolicy(delay=60, max_delay=60)))
        self.crash(bench, name)
        status = bench.wait_for_state(name, ServiceState.STARTING)
        assert status.pid is None
        wait_until(lambda: "SIGKILL" in bench.manager.status(name).last_error, "the reason is known")
        bench.manager.stop(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_service_waiting_for_its_restart_can_be_started(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec(restart=RestartPolicy(delay=60, max_delay=60)))
        self.crash(bench, name)
        bench.wait_for_state(name, ServiceState.STARTING)
        bench.manager.start(name)
        assert bench.running_pid(name)

    def test_services_outlive_the_agent(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        before = bench.manager.status(name)
        bench.restart_agent()
        bench.expect_unchanged(name, before)
        bench.manager.start(name)
        assert bench.running_pid(name) == before.pid

    def test_new_agent_supervises_what_it_found(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        bench.restart_agent()
        former = bench.running_pid(name)
        self.crash(bench, name)
        bench.wait_for_new_pid(name, former)

    def test_new_agent_can_reload_and_stop_what_it_found(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying("--signals", str(bench.file("signals"))))
        bench.restart_agent()
        bench.manager.reload(name)
        bench.manager.stop(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_stopped_service_stays_stopped_for_a_new_agent(self, bench: ServiceBench) -> None:
        name = bench.started(bench.spec())
        bench.manager.stop(name)
        bench.restart_agent()
        bench.expect(name, ServiceState.STOPPED)

    def test_services_are_independent(self, bench: ServiceBench) -> None:
        first, second = bench.started(bench.spec()), bench.started(bench.spec())
        before = bench.manager.status(second)
        bench.manager.stop(first)
        bench.manager.remove(first)
        bench.expect_unchanged(second, before)

    def test_services_start_side_by_side(self, bench: ServiceBench) -> None:
        names = [bench.install(bench.notifying("--slow", "0.3")) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bench.manager.start, names))
        assert len({bench.running_pid(name) for name in names}) == 4
