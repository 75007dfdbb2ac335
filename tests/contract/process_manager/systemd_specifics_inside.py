# SPDX-License-Identifier: Apache-2.0
"""What the contract does not ask of the systemd process manager. Run inside a booted machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.drivers.process_manager.systemd import UNIT_DIRECTORY, SystemdProcessManager
from amphora.drivers.process_manager.systemd.bus import SystemdBus
from amphora.drivers.process_manager.systemd.units import render_unit
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import RestartPolicy, ServiceState
from amphora.system.command import CommandRunner
from amphora.testing.service_bench import ServiceBench, wait_until

pytestmark = pytest.mark.real_commands


@pytest.fixture(scope="module")
def release():
    """Release of the systemd that runs this machine."""
    with contextlib.closing(SystemdBus()) as bus:
        return bus.release()


@pytest.fixture
def bench(tmp_path):
    bench = ServiceBench(lambda _: SystemdProcessManager(CommandRunner()), tmp_path)
    yield bench
    bench.close()


def systemctl(*words):
    return subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=30, check=False)


def property_of(name, key):
    return systemctl("show", "--value", "-p", key, f"{name}.service").stdout.strip()


def test_operator_can_reload_with_systemctl(bench):
    path, flag = bench.file("signals"), bench.file("broken")
    check = ("/bin/sh", "-c", f"test ! -e {flag}")
    name = bench.started(bench.notifying("--signals", str(path), check_argv=check))
    assert systemctl("reload", name).returncode == 0
    wait_until(path.exists, "the signal arrived")
    flag.touch()
    assert systemctl("reload", name).returncode == 1
    bench.manager.stop(name)
    assert path.read_text().split() == [str(int(signal.SIGUSR2))]


def test_started_service_is_enabled_and_stopped_one_is_not(bench):
    name = bench.started(bench.spec())
    assert property_of(name, "UnitFileState") == "enabled"
    bench.manager.stop(name)
    assert property_of(name, "UnitFileState") == "disabled"


def test_removed_service_leaves_no_trace(bench):
    name = bench.started(bench.spec())
    os.kill(bench.running_pid(name), signal.SIGKILL)
    bench.manager.remove(name)
    assert not [path for path in UNIT_DIRECTORY.rglob("*") if name in path.name]
    assert property_of(name, "LoadState") == "not-found"
    assert name not in systemctl("list-units", "--all").stdout


def test_crash_loop_is_never_given_up(bench):
    flag = bench.file("broken")
    policy = RestartPolicy(delay=0.05, max_delay=0.05)
    check = ("/bin/sh", "-c", f"test ! -e {flag}")
    name = bench.started(bench.notifying(check_argv=check, restart=policy))
    former = bench.running_pid(name)
    flag.touch()
    os.kill(former, signal.SIGKILL)
    # More than the five starts in ten seconds after which systemd would give up by default.
    wait_until(lambda: int(property_of(name, "NRestarts")) > 8, "it was restarted often")
    assert bench.manager.status(name).state is ServiceState.STARTING
    flag.unlink()
    bench.wait_for_new_pid(name, former)


def test_crash_long_after_the_last_is_not_punished_for_it(bench, release):
    name = bench.started(bench.notifying(restart=RestartPolicy(delay=0.05)))
    for _ in range(3):
        former = bench.running_pid(name)
        os.kill(former, signal.SIGKILL)
        bench.wait_for_new_pid(name, former)
    # systemd takes the delay from this number; before release 254 the delay does not grow anyway.
    assert property_of(name, "NRestarts") == ("0" if release >= 254 else "3")


def test_service_that_systemd_gave_up_is_started_by_the_next_agent(bench):
    name = bench.started(bench.spec())
    systemctl("stop", name)
    assert bench.manager.status(name).state is ServiceState.FAILED
    bench.restart_agent()
    bench.wait_for_state(name, ServiceState.RUNNING)


def test_units_of_others_are_left_alone(bench):
    assert bench.manager.status("dbus").state is ServiceState.ABSENT
    bench.manager.stop("dbus")
    bench.manager.remove("dbus")
    assert property_of("dbus", "ActiveState") == "active"
    path = UNIT_DIRECTORY / "foreign.service"
    path.write_text("[Service]\nExecStart=/bin/true\n")
    try:
        with pytest.raises(ServiceError, match="not written by"):
            bench.manager.install(replace(bench.spec(), name="foreign"))
        bench.manager.remove("foreign")
        assert path.exists()
    finally:
        path.unlink()


def test_interrupted_install_is_made_good(bench, release):
    spec = bench.notifying()
    name = bench.install(spec)
    changed = replace(spec, description="Changed")
    # As an agent leaves it that ends between writing the unit and telling systemd; a second later,
    # because systemd compares times.
    path = UNIT_DIRECTORY / f"{name}.service"
    path.write_text(render_unit(changed, release))
    os.utime(path, (time.time() + 5, time.time() + 5))
    bench.manager.install(changed)
    assert property_of(name, "Description") == "Changed"


def test_connection_survives_a_restart_of_the_bus(bench):
    name = bench.started(bench.spec())
    pid = bench.running_pid(name)
    systemctl("stop", "dbus.service", "dbus.socket")
    with pytest.raises(ServiceError, match="does not answer"):
        bench.manager.status(name)
    systemctl("start", "dbus.socket", "dbus.service")
    assert bench.running_pid(name) == pid


def test_silent_bus_costs_a_second(bench):
    name = bench.started(bench.spec())
    bench.running_pid(name)
    bus = int(property_of("dbus", "MainPID"))
    os.kill(bus, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(ServiceError, match="does not answer"):
            bench.manager.status(name)
        with pytest.raises(ServiceError, match="does not answer"):
            bench.manager.status(name)
        assert time.monotonic() - began < 4
    finally:
        os.kill(bus, signal.SIGCONT)
    bench.running_pid(name)


def test_status_is_cheap(bench):
    name = bench.started(bench.spec())
    bench.manager.status(name)
    began = time.perf_counter()
    for _ in range(50):
        bench.manager.status(name)
    each = (time.perf_counter() - began) / 50
    print(f"status: {each * 1000:.2f} ms")
    assert each < 0.1


def test_says_why_it_is_unavailable(tmp_path):
    runner = CommandRunner()
    with pytest.raises(DriverUnavailable, match="not booted with systemd"):
        SystemdProcessManager(runner, booted=tmp_path / "missing").check_available()
    manager = SystemdProcessManager(runner, bus=SystemdBus(tmp_path / "no-bus"))
    with pytest.raises(DriverUnavailable, match="no-bus"):
        manager.check_available()


def verify(path):
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("namespace", ["", "some-namespace"])
@pytest.mark.parametrize("policy", [RestartPolicy(), RestartPolicy(on_crash=False)])
def test_rendered_units_satisfy_systemd(bench, tmp_path, release, namespace, policy):
    check = ("/bin/true", "x;y")
    spec = bench.notifying(
        "--", "100%", "$HOME", "a b", namespace=namespace, check_argv=check, restart=policy
    )
    unit = Path(tmp_path, f"{spec.name}.service")
    unit.write_text(render_unit(spec, release))
    assert verify(unit) == (0, "")


def test_setting_that_systemd_does_not_know_would_be_noticed(bench, tmp_path, release):
    unit = Path(tmp_path, "odd.service")
    unit.write_text(render_unit(bench.notifying(), release).replace("KillMode=", "KillMood="))
    assert "KillMood" in verify(unit)[1]


def test_changed_template_reaches_a_unit_of_an_older_release(bench, release):
    spec = bench.notifying()
    name = bench.started(spec)
    pid = bench.running_pid(name)
    path = UNIT_DIRECTORY / f"{name}.service"
    path.write_text(path.read_text().replace("LimitNOFILE=2600000", "LimitNOFILE=4096"))
    assert systemctl("daemon-reload").returncode == 0
    assert property_of(name, "LimitNOFILE") == "4096"
    bench.restart_agent()
    assert path.read_text() == render_unit(spec, release)
    assert property_of(name, "LimitNOFILE") == "2600000"
    assert property_of(name, "NeedDaemonReload") == "no"
    assert bench.running_pid(name) == pid


def test_service_that_waited_for_its_namespace_starts_with_the_next_agent(bench):
    namespace = f"late-{os.getpid()}"
    policy = RestartPolicy(delay=600, max_delay=600)
    subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=30)
    try:
        name = bench.started(bench.notifying(namespace=namespace, restart=policy))
        subprocess.run(["ip", "netns", "delete", namespace], check=True, timeout=30)
        os.kill(bench.running_pid(name), signal.SIGKILL)
        bench.wait_for_state(name, ServiceState.STARTING)
        subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=30)
        bench.restart_agent()
        bench.wait_for_state(name, ServiceState.RUNNING)
        bench.manager.remove(name)
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=True, timeout=30)
