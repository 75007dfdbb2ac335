# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The part of the contract of process managers about what they keep, leave behind and mistake."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.errors import ServiceError
from amphora.models import RestartPolicy, ServiceSpec, ServiceState
from amphora.system.processes import identify
from amphora.testing.conditions import (
    born_as,
    descriptors_left,
    files_named,
    full_disk,
    open_descriptors,
)
from amphora.testing.service_bench import ServiceBench, ServiceFixtures, program, read_report, wait_until

#: Where init systems keep what they know of a service; a driver's own directory is searched too.
_PLACES = (Path("/etc"), Path("/run"), Path("/var/lib"), Path("/var/log"))


class ProcessManagerTraceContract(ServiceFixtures):
    """What is on disk, open, or found again."""

    def test_removed_service_leaves_no_trace(self, bench: ServiceBench) -> None:
        places = (bench.directory, *_PLACES)
        name = bench.started(bench.notifying())
        bench.manager.remove(name)
        # Init systems forget a removed service a moment later.
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not files_named(name, places), "nothing is left", seconds=5)
        left = files_named(name, places)
        assert not left, f"remove() left {', '.join(left)}"

    def test_no_descriptor_stays_open(self, bench: ServiceBench) -> None:
        def live_one_life() -> None:
            name = bench.started(bench.notifying())
            bench.manager.reload(name)
            bench.manager.status(name)
            bench.manager.remove(name)

        live_one_life()
        before = open_descriptors()
        for _ in range(3):
            live_one_life()
        with contextlib.suppress(AssertionError):
            wait_until(lambda: not descriptors_left(before), "all are closed", seconds=3)
        left = descriptors_left(before)
        assert not left, f"of 3 services that came and went {left}"

    def test_full_disk_leaves_the_former_spec(self, bench: ServiceBench) -> None:
        path = bench.file("report")
        spec = bench.notifying("--report", str(path), "--", "former")
        name = bench.install(spec)
        wanted = _installed_on_full_disk(bench, replace(spec, argv=(*spec.argv[:-1], "changed")))
        bench.restart_agent()
        state = bench.manager.status(name).state
        assert state is ServiceState.STOPPED, f"an install that failed left the service {state.value}"
        bench.manager.start(name)
        found = read_report(path)["arguments"]
        assert found == [wanted or "former"], f"the service that was installed is neither: {found}"

    def test_full_disk_installs_nothing_by_halves(self, bench: ServiceBench) -> None:
        spec = bench.notifying("--", "new")
        installed = _installed_on_full_disk(bench, spec)
        bench.restart_agent()
        wanted = ServiceState.STOPPED if installed else ServiceState.ABSENT
        state = bench.manager.status(spec.name).state
        assert state is wanted, f"an install that failed left the service {state.value}"
        bench.started(spec)

    def test_reused_process_id_is_not_taken_for_the_service(self, bench: ServiceBench) -> None:
        if os.geteuid() != 0:
            pytest.skip("choosing the id of a new process needs root")
        name = bench.started(bench.notifying(restart=RestartPolicy(on_crash=False)))
        pid = bench.running_pid(name)
        bench.manager.close()
        _end_for_good(pid)
        with _stranger(pid) as is_alive:
            bench.restart_agent()
            status = bench.manager.status(name)
            assert status.pid != pid, "status() gives the id of a process that is another one by now"
            bench.manager.remove(name)
            assert is_alive(), "a process of another program was killed because it had the id of a former one"


def _installed_on_full_disk(bench: ServiceBench, spec: ServiceSpec) -> str:
    """Return the last argument of a spec if it could be installed, else nothing."""
    try:
        with full_disk():
            bench.install(spec)
    except ServiceError:
        return ""
    return spec.argv[-1]


def _end_for_good(pid: int) -> None:
    """Kill a process and wait until its id is free."""
    os.kill(pid, signal.SIGKILL)

    def is_gone() -> bool:
        # Only if it is our child; otherwise its parent has reaped it.
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return not Path(f"/proc/{pid}").exists()

    wait_until(is_gone, f"process {pid} is gone")


@contextlib.contextmanager
def _stranger(pid: int) -> Iterator[Callable[[], bool]]:
    """Start the service's program under this id from another process; yield whether it is alive."""
    born_as(pid, program())
    itself = identify(pid)
    assert itself is not None
    try:
        yield itself.is_alive
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
