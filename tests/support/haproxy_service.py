# SPDX-License-Identifier: Apache-2.0
"""A real haproxy in master-worker mode under a process manager."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.errors import ServiceError
from amphora.models import Readiness, ServiceSpec, ServiceState
from amphora.system.processes import children_of
from amphora.testing.service_bench import ServiceBench, ServiceFixtures, is_alive, wait_until

CONFIG = """
defaults
  mode http
  timeout client 5s
  timeout server 5s
  timeout connect 5s
frontend test
  bind unix@{socket}
  http-request return status 200 content-type text/plain string "{text}"
"""


class HaproxyChecks(ServiceFixtures):
    """Inherit and say how to build the driver."""

    @pytest.fixture
    def config(self, bench: ServiceBench) -> Path:
        path = bench.file("haproxy.cfg")
        path.write_text(CONFIG.format(socket=bench.file("front"), text="first"))
        return path

    @pytest.fixture
    def spec(self, bench: ServiceBench, config: Path) -> ServiceSpec:
        haproxy = "/usr/sbin/haproxy"
        return replace(
            bench.spec(),
            argv=(haproxy, "-Ws", "-f", str(config)),
            # Without -q, which would hide what is wrong.
            check_argv=(haproxy, "-c", "-f", str(config)),
            readiness=Readiness.NOTIFY,
        )

    def test_serves_as_soon_as_it_is_started(self, bench: ServiceBench, spec: ServiceSpec) -> None:
        name = bench.started(spec)
        assert "first" in ask(bench.file("front"))
        pid = bench.running_pid(name)
        workers = children_of(pid)
        assert workers
        bench.manager.stop(name)
        assert not any(is_alive(process) for process in (pid, *workers))

    def test_reload_changes_the_answer_and_keeps_the_master(
        self, bench: ServiceBench, spec: ServiceSpec, config: Path
    ) -> None:
        name = bench.started(spec)
        pid = bench.running_pid(name)
        config.write_text(CONFIG.format(socket=bench.file("front"), text="second"))
        # Once ready it executes itself anew, up to 3.0, and ignores the signal meanwhile.
        wait_until(lambda: catches(pid, signal.SIGUSR2), "the master process takes the signal")
        bench.manager.reload(name)
        wait_until(lambda: "second" in ask(bench.file("front")), "the new configuration is served")
        assert bench.running_pid(name) == pid

    def test_broken_configuration_is_refused(
        self, bench: ServiceBench, spec: ServiceSpec, config: Path
    ) -> None:
        name = bench.started(spec)
        config.write_text("nonsense\n")
        with pytest.raises(ServiceError, match="unknown keyword 'nonsense'"):
            bench.manager.reload(name)
        assert "first" in ask(bench.file("front"))
        bench.manager.stop(name)
        with pytest.raises(ServiceError, match="unknown keyword 'nonsense'"):
            bench.manager.start(name)
        assert bench.manager.status(name).state is ServiceState.STOPPED

    def test_address_in_use_fails_the_start_with_haproxys_words(
        self, bench: ServiceBench, spec: ServiceSpec, config: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config.write_text(config.read_text() + f"  bind 127.0.0.1:{port}\n")
            name = bench.install(spec)
            with pytest.raises(ServiceError, match="cannot bind socket"):
                bench.manager.start(name)

    def test_death_of_a_worker_restarts_the_service(self, bench: ServiceBench, spec: ServiceSpec) -> None:
        name = bench.started(spec)
        pid = bench.running_pid(name)
        os.kill(children_of(pid)[0], signal.SIGKILL)
        bench.wait_for_new_pid(name, pid)
        assert "first" in ask(bench.file("front"))


def ask(path: Path) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        return client.makefile().read()


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal now (proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)
