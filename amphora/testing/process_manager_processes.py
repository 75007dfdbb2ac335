# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The part of the contract of process managers that only real processes can show.

See :mod:`amphora.testing.process_manager`. The test of network namespaces needs root.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.errors import AmphoraError, ServiceError
from amphora.models import Readiness, ServiceState
from amphora.system.command import CommandRunner
from amphora.testing.conditions import no_processes
from amphora.testing.service_bench import (
    ServiceBench,
    ServiceFixtures,
    is_alive,
    program,
    read_report,
    wait_until,
)

_AWKWARD = ("two words", "100%", "%n %% %i", "$HOME ${HOME} $$", "it's", 'a "quote"', "back\\slash", "")
_AWKWARDER = (
    ";",
    "semi;colon",
    "-x",
    "tab\there",
    "line\nbreak",
    "grüße ☃",
    "trailing\\",
    "@:+!",
    "#no",
    "*?[a]",
)


class ProcessManagerProcessContract(ServiceFixtures):
    """What can be seen only from inside real processes."""

    def test_arguments_arrive_verbatim(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        spec = bench.notifying("--report", str(path), "--", *_AWKWARD, *_AWKWARDER)
        bench.started(replace(spec, description="100% of\na $strange \\ name \\"))
        assert read_report(path)["arguments"] == [*_AWKWARD, *_AWKWARDER]

    def test_environment_is_clean_and_verbatim(
        self, bench: ServiceBench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AGENT_SECRET", "not for services")
        wanted = {"PLAIN": "1", "AWKWARD": '%n $HOME "it\'s" \\ end\\', "LINES": "a\nb\tc", "EMPTY": ""}
        path = bench.file("report")
        bench.started(bench.notifying("--report", str(path), environment=wanted))
        seen = read_report(path)
        assert wanted.items() <= seen["environment"].items()
        assert "AGENT_SECRET" not in seen["environment"], "the agent's own environment reaches the service"
        assert seen["environment"]["LC_ALL"] == "C.UTF-8"
        assert seen["directory"] == "/"

    def test_no_descriptor_leaks_into_a_service(self, bench: ServiceBench) -> None:
        with bench.file("open").open("w") as stream:
            os.set_inheritable(stream.fileno(), True)
            path = bench.file("report")
            bench.started(bench.notifying("--report", str(path)))
        # Its own look into the directory is the fourth.
        found = read_report(path)["descriptors"]
        assert len(found) == 4, f"the service inherited descriptors: it has {found}"

    def test_status_names_the_main_process(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        name = bench.started(bench.notifying("--report", str(path)))
        assert bench.running_pid(name) == read_report(path)["pid"]

    def test_service_that_forks_runs_as_its_pid_file_says(self, bench: ServiceBench) -> None:
        pid_file = bench.file("pid")
        spec = bench.spec("--daemon", str(pid_file), readiness=Readiness.FORKING, pid_file=pid_file)
        name = bench.started(spec)
        first = bench.running_pid(name)
        assert first == int(pid_file.read_text(encoding="ascii"))
        os.kill(first, signal.SIGKILL)
        bench.wait_for_new_pid(name, first)
        bench.manager.stop(name)
        assert not pid_file.exists()

    def test_start_returns_once_the_service_is_ready(self, bench: ServiceBench) -> None:
        ready = bench.file("ready")
        name = bench.started(bench.notifying("--slow", "0.5", "--ready", str(ready)))
        assert ready.exists(), "start() returned before the service had sent READY=1"
        assert bench.running_pid(name)

    def test_a_service_that_reports_its_own_failure_is_not_started(self, bench: ServiceBench) -> None:
        # As haproxy 3.1 or newer at a first start that fails: READY=1, STATUS=Reload failed!, and status 1.
        name = bench.install(bench.notifying("--fail"))
        with pytest.raises(ServiceError):
            bench.manager.start(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_reload_sends_the_signal_once(self, bench: ServiceBench) -> None:
        path = bench.file("signals")
        name = bench.started(bench.notifying("--signals", str(path)))
        bench.manager.reload(name)
        wait_until(path.exists, "the signal arrived")
        bench.manager.stop(name)
        received = path.read_text(encoding="ascii").split()
        assert received == [str(int(signal.SIGUSR2))], f"reload() sent signals {received}, not SIGUSR2 once"

    def test_output_is_what_was_printed_since_the_last_act(self, bench: ServiceBench) -> None:
        script = "trap 'echo told of the reload' USR2; echo began; while :; do sleep 0.1; done"
        name = bench.install(bench.spec(argv=("/bin/sh", "-c", script), readiness=Readiness.EXEC))
        assert bench.manager.output(name) == "", "output() has words of a service that was never started"
        bench.manager.start(name)
        wait_until(lambda: bench.manager.output(name) == "began", "output() has what the service printed")
        bench.manager.reload(name)
        wait_until(
            lambda: bench.manager.output(name) == "told of the reload",
            "output() has what the service printed since the reload, and that alone",
        )
        bench.manager.begin_output(name)
        assert bench.manager.output(name) == "", "output() has words from before begin_output()"
        bench.manager.stop(name)
        bench.manager.begin_output("unknown")
        assert bench.manager.output("unknown") == ""

    def test_refused_check_prevents_the_start(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        check = ("/bin/sh", "-c", "echo line 7 is wrong; exit 3")
        name = bench.install(bench.notifying("--report", str(path), check_argv=check))
        with pytest.raises(ServiceError, match="line 7 is wrong"):
            bench.manager.start(name)
        status = bench.manager.status(name)
        assert status.state is ServiceState.STOPPED
        assert "line 7 is wrong" in status.last_error
        assert not path.exists()

    def test_refused_check_prevents_the_reload(self, bench: ServiceBench) -> None:
        signals, flag = bench.file("signals"), bench.file("broken")
        check = ("/bin/sh", "-c", f"test ! -e {flag} || {{ echo line 8 is wrong; exit 1; }}")
        name = bench.started(bench.notifying("--signals", str(signals), check_argv=check))
        before = bench.manager.status(name)
        flag.touch()
        with pytest.raises(ServiceError, match="line 8 is wrong"):
            bench.manager.reload(name)
        bench.expect_unchanged(name, before)
        bench.manager.stop(name)
        assert not signals.exists()

    def test_service_that_ends_at_once_does_not_start(self, bench: ServiceBench) -> None:
        name = bench.install(bench.notifying("--exit", "3"))
        with pytest.raises(ServiceError, match="exit status 3") as caught:
            bench.manager.start(name)
        assert "this service ends at once" in caught.value.details
        bench.expect(name, ServiceState.STOPPED)
        assert "exit status 3" in bench.manager.status(name).last_error

    def test_service_that_never_gets_ready_does_not_start(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        spec = bench.spec("--report", str(path), readiness=Readiness.NOTIFY, start_timeout=1.5)
        name = bench.install(spec)
        began = time.monotonic()
        with pytest.raises(ServiceError):
            bench.manager.start(name)
        assert time.monotonic() - began < 10
        bench.expect(name, ServiceState.STOPPED)
        assert not is_alive(read_report(path)["pid"])

    def test_command_that_does_not_exist_does_not_start(self, bench: ServiceBench) -> None:
        name = bench.install(bench.spec(argv=("/nonexistent/program", "x")))
        with pytest.raises(ServiceError):
            bench.manager.start(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_failed_start_is_not_retried(self, bench: ServiceBench) -> None:
        path = bench.file("attempts")
        script = f"echo x >> {path}; exit 1"
        name = bench.install(bench.spec(argv=("/bin/sh", "-c", script), readiness=Readiness.NOTIFY))
        with pytest.raises(ServiceError):
            bench.manager.start(name)
        bench.restart_agent()
        attempts = path.read_text(encoding="ascii")
        # Several times the delay after which it would have been started again.
        time.sleep(0.5)
        assert path.read_text(encoding="ascii") == attempts
        bench.expect(name, ServiceState.STOPPED)

    def test_service_that_ends_by_itself_is_started_again(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        name = bench.started(bench.notifying("--report", str(path)))
        former = bench.running_pid(name)
        os.kill(former, signal.SIGTERM)
        bench.wait_for_new_pid(name, former)
        assert not is_alive(former)

    def test_service_that_ignores_sigterm_is_killed(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying("--ignore-term", stop_timeout=1.0))
        pid = bench.running_pid(name)
        began = time.monotonic()
        bench.manager.stop(name)
        taken = time.monotonic() - began
        assert 0.9 < taken < 9, f"a service with 1 s between SIGTERM and SIGKILL took {taken:.2f} s to stop"
        assert not is_alive(pid)
        bench.expect(name, ServiceState.STOPPED)

    def test_stop_ends_all_descendants(self, bench: ServiceBench) -> None:
        path = bench.file("children")
        name = bench.started(bench.notifying("--children", str(path)))
        children = [int(pid) for pid in path.read_text(encoding="ascii").split()]
        assert all(is_alive(pid) for pid in children)
        bench.manager.stop(name)
        assert not any(is_alive(pid) for pid in children), "stop() left children of the service alive"

    def test_crash_leaves_no_descendants(self, bench: ServiceBench) -> None:
        path = bench.file("children")
        name = bench.started(bench.notifying("--children", str(path)))
        children = [int(pid) for pid in path.read_text(encoding="ascii").split()]
        former = bench.running_pid(name)
        os.kill(former, signal.SIGKILL)
        bench.wait_for_new_pid(name, former)
        assert not any(is_alive(pid) for pid in children)

    def test_new_agent_ends_all_descendants_of_what_it_found(self, bench: ServiceBench) -> None:
        path = bench.file("children")
        name = bench.started(bench.notifying("--children", str(path)))
        children = [int(pid) for pid in path.read_text(encoding="ascii").split()]
        bench.restart_agent()
        bench.manager.remove(name)
        assert not any(is_alive(pid) for pid in children)

    def test_service_that_died_unwatched_is_started_again(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        former = bench.running_pid(name)
        bench.manager.close()
        os.kill(former, signal.SIGKILL)
        bench.restart_agent()
        bench.wait_for_new_pid(name, former)

    def test_changed_spec_takes_effect_at_the_next_start(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        spec = bench.notifying("--report", str(path), "--", "old")
        name = bench.started(spec)
        bench.manager.install(replace(spec, argv=(*spec.argv[:-1], "new")))
        assert read_report(path)["arguments"] == ["old"]
        bench.manager.stop(name)
        bench.manager.start(name)
        assert read_report(path)["arguments"] == ["new"]

    def test_status_does_not_wait_for_a_slow_start(self, bench: ServiceBench) -> None:
        name = bench.install(bench.notifying("--slow", "1.5"))
        with ThreadPoolExecutor(1) as pool:
            start = pool.submit(bench.manager.start, name)
            bench.wait_for_state(name, ServiceState.STARTING)
            began = time.monotonic()
            bench.manager.status(name)
            assert time.monotonic() - began < 1
            assert not start.done()
            start.result(timeout=20)
        assert bench.running_pid(name)

    def test_status_does_not_fork(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        with no_processes() as attempts, contextlib.suppress(AmphoraError, AssertionError):
            bench.running_pid(name)
        assert not attempts, f"status() started a process, by {attempts[0]}"

    def test_service_runs_in_its_namespace(self, bench: ServiceBench) -> None:
        if os.geteuid() != 0:
            pytest.skip("making a network namespace needs root")
        namespace, runner, path = f"amp-{os.getpid()}-ns", CommandRunner(), bench.file("report")
        assert runner.run(("ip", "netns", "add", namespace), timeout=10).succeeded
        try:
            check = ("/bin/sh", "-c", f"stat -Lc %i /proc/self/ns/net > {bench.file('check')}")
            spec = bench.notifying("--report", str(path), namespace=namespace, check_argv=check)
            name = bench.started(spec)
            inside = Path("/run/netns", namespace).stat().st_ino
            assert read_report(path)["namespace"] == inside
            assert int(bench.file("check").read_text(encoding="ascii")) == inside
            assert bench.running_pid(name) == read_report(path)["pid"]
            bench.manager.remove(name)
        finally:
            runner.run(("ip", "netns", "del", namespace), timeout=10)

    def test_missing_namespace_prevents_the_start(self, bench: ServiceBench) -> None:
        name = bench.install(bench.notifying(namespace="amp-nowhere"))
        with pytest.raises(ServiceError):
            bench.manager.start(name)
        bench.expect(name, ServiceState.STOPPED)

    def test_program_is_the_real_command(self, bench: ServiceBench) -> None:
        name = bench.started(bench.notifying())
        cmdline = Path(f"/proc/{bench.running_pid(name)}/cmdline").read_bytes().split(b"\0")
        assert cmdline[:-1] == [part.encode() for part in program("--notify")]
