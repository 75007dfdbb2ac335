# SPDX-License-Identifier: Apache-2.0
"""Services of the standalone process manager outlive agents that end in every way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from amphora.drivers.process_manager.launcher import notify_path
from amphora.drivers.process_manager.members import MARKER
from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.specs import to_document
from amphora.drivers.process_manager.standalone import RecordStore, StandaloneProcessManager
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceState
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity, identify
from amphora.testing.service_bench import ServiceBench, is_alive, program, wait_until

pytestmark = pytest.mark.real_commands

REPOSITORY = Path(__file__).resolve().parents[3]

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

AGENT = """
import pathlib, sys, time
from amphora.drivers.process_manager.specs import from_document
from amphora.drivers.process_manager.standalone import StandaloneProcessManager
from amphora.system.command import CommandRunner
import json

manager = StandaloneProcessManager(pathlib.Path(sys.argv[1]), CommandRunner())
manager.supervise()
spec = from_document(json.loads(sys.argv[2]))
manager.install(spec)
manager.start(spec.name)
print(manager.status(spec.name).pid, flush=True)
time.sleep(1000)
"""


def build(directory):
    return StandaloneProcessManager(directory / "state", CommandRunner())


@pytest.fixture
def directory():
    path = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def bench(directory):
    bench = ServiceBench(build, directory)
    yield bench
    bench.close()


@pytest.fixture
def agent(directory):
    """Run an agent of its own process that starts a service; return it and the service's process id."""
    agents = []

    def run(spec):
        argv = [sys.executable, "-c", AGENT, str(directory / "state"), json.dumps(to_document(spec))]
        agents.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY))
        return agents[-1], int(agents[-1].stdout.readline())

    yield run
    for process in agents:
        with process:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_service_of_a_killed_agent_is_adopted(bench, agent, number):
    spec = bench.notifying()
    process, pid = agent(spec)
    process.send_signal(number)
    process.wait(10)
    bench.restart_agent()
    assert bench.running_pid(bench.install(spec)) == pid
    os.kill(pid, signal.SIGKILL)
    bench.wait_for_new_pid(spec.name, pid)


def test_signal_to_the_agents_group_does_not_reach_services(bench, agent):
    spec = bench.notifying()
    process, pid = agent(spec)
    assert os.getsid(pid) == pid
    process.kill()
    process.wait(10)
    assert is_alive(pid)
    bench.restart_agent()
    bench.install(spec)


def put_record(bench, spec, *, wanted, process, boot_id=BOOT_ID):
    RecordStore(bench.directory / "state", boot_id).save(ServiceRecord(spec, wanted, process))


def orphan(bench, spec):
    """Start the service's process as an agent does that ends before it records the process."""
    mark = str(bench.directory / "state" / spec.name)
    return subprocess.Popen(
        spec.argv,
        env={MARKER: mark},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )


def test_process_born_but_not_recorded_is_adopted(bench):
    spec = bench.spec()
    with orphan(bench, spec) as process:
        put_record(bench, spec, wanted=True, process=None)
        bench.restart_agent()
        assert bench.running_pid(bench.install(spec)) == process.pid
        bench.manager.remove(spec.name)


def test_orphan_of_a_stopped_service_is_ended(bench):
    spec = bench.spec()
    with orphan(bench, spec) as process:
        put_record(bench, spec, wanted=False, process=None)
        bench.restart_agent()
        process.wait(10)
        assert not is_alive(process.pid)
    assert bench.manager.status(bench.install(spec)).state is ServiceState.STOPPED


def test_recorded_id_of_another_process_is_not_trusted(bench):
    spec = bench.spec()
    with subprocess.Popen(program(), start_new_session=True) as innocent:
        started = identify(innocent.pid).start_ticks
        put_record(bench, spec, wanted=True, process=ProcessIdentity(innocent.pid, started - 1))
        bench.restart_agent()
        bench.wait_for_state(bench.install(spec), ServiceState.RUNNING)
        assert bench.running_pid(spec.name) != innocent.pid
        bench.manager.remove(spec.name)
        assert innocent.poll() is None
        innocent.kill()


def test_recorded_process_of_another_boot_is_not_trusted(bench):
    spec = bench.spec(restart=RestartPolicy(on_crash=False))
    with subprocess.Popen(program(), start_new_session=True) as innocent:
        put_record(bench, spec, wanted=True, process=identify(innocent.pid), boot_id="the-boot-before")
        bench.restart_agent()
        bench.wait_for_state(bench.install(spec), ServiceState.RUNNING)
        assert bench.running_pid(spec.name) != innocent.pid
        bench.manager.remove(spec.name)
        assert innocent.poll() is None
        innocent.kill()


def test_agent_that_ends_during_a_restart_leaves_it_to_the_next(bench):
    flag = bench.file("broken")
    spec = bench.notifying(check_argv=("/bin/sh", "-c", f"test ! -e {flag}"))
    name = bench.started(spec)
    former = bench.running_pid(name)
    flag.touch()
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: "check" in bench.manager.status(name).last_error, "a restart failed")
    bench.restart_agent()
    assert bench.manager.status(name).state is ServiceState.STARTING
    flag.unlink()
    bench.wait_for_new_pid(name, former)


def test_stop_interrupts_a_slow_restart(bench):
    slow = bench.file("slow")
    script = f"test -e {slow} && sleep 1000; exec {' '.join(program('--notify'))}"
    name = bench.started(bench.notifying(argv=("/bin/sh", "-c", script), start_timeout=60.0))
    slow.touch()
    former = bench.running_pid(name)
    os.kill(former, signal.SIGKILL)
    bench.wait_for_state(name, ServiceState.STARTING)
    wait_until(lambda: bench.manager.status(name).pid not in (None, former), "the restart is under way")
    pid = bench.manager.status(name).pid
    bench.manager.stop(name)
    assert not is_alive(pid)
    assert bench.manager.status(name).state is ServiceState.STOPPED


def test_crash_loop_backs_off(bench):
    path = bench.file("starts")
    script = f"date +%s.%N >> {path}; test $(wc -l < {path}) -gt 1 || exec sleep 1000; exit 7"
    policy = RestartPolicy(delay=0.05, max_delay=0.4)
    name = bench.started(bench.spec(argv=("/bin/sh", "-c", script), restart=policy))
    os.kill(bench.running_pid(name), signal.SIGKILL)
    wait_until(lambda: len(path.read_text().split()) >= 6, "five restarts")
    starts = [float(line) for line in path.read_text().split()]
    gaps = [later - sooner for sooner, later in zip(starts[1:], starts[2:], strict=False)]
    assert gaps[0] < gaps[1] < gaps[2]
    assert "exit status 7" in bench.manager.status(name).last_error


def test_removed_service_leaves_no_trace(bench):
    name = bench.started(bench.notifying())
    state = bench.directory / "state"
    assert (state.stat().st_mode & 0o777, len(list(state.iterdir()))) == (0o700, 2)
    notify_path(state, name).touch()
    bench.manager.remove(name)
    assert list(state.iterdir()) == []


@pytest.mark.parametrize("path", [Path("/tmp") / ("x" * 90), Path("relative")])
def test_directory_that_cannot_hold_sockets_is_unavailable(path):
    manager = StandaloneProcessManager(path, CommandRunner())
    with pytest.raises(DriverUnavailable, match="absolute path of 90 bytes"):
        manager.check_available()
    manager.close()


def test_damaged_record_does_not_keep_others_from_being_taken_up(bench):
    name = bench.started(bench.notifying())
    former = bench.running_pid(name)
    damaged = bench.directory / "state" / "damaged.json"
    damaged.write_text("{")
    bench.manager.close()
    manager = build(bench.directory)
    with pytest.raises(ServiceError, match="service damaged"):
        manager.supervise()
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: manager.status(name).pid not in (None, former), "it is supervised")
    manager.close()
    damaged.unlink()
    bench.restart_agent()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("exit 4", "exit status 4"),
        ("exit 0", "left no live process"),
        ("sleep 1000", "did not go into the background"),
        ("sleep 0.3 & echo $$ > {pid_file}", "left no live process"),
    ],
)
def test_service_that_does_not_become_a_daemon_fails(bench, script, reason):
    pid_file = bench.file("pid")
    argv = ("/bin/sh", "-c", script.format(pid_file=pid_file))
    spec = bench.spec(argv=argv, readiness=Readiness.FORKING, pid_file=pid_file, start_timeout=0.6)
    name = bench.install(spec)
    with pytest.raises(ServiceError, match=reason):
        bench.manager.start(name)
    assert bench.manager.status(name).state is ServiceState.STOPPED
    assert not pid_file.exists()


def test_main_process_may_be_handed_over(bench):
    script = (
        "import os, socket, time\n"
        "child = os.fork()\n"
        "if child == 0: time.sleep(1000)\n"
        "sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "sender.sendto(b'READY=1\\nMAINPID=%d' % child, os.environ['NOTIFY_SOCKET'])\n"
    )
    argv = (sys.executable, "-I", "-S", "-c", script)
    name = bench.started(bench.spec(argv=argv, readiness=Readiness.NOTIFY))
    pid = bench.running_pid(name)
    wait_until(lambda: os.getsid(pid) != pid and not is_alive(os.getsid(pid)), "the first process ended")
    assert bench.running_pid(name) == pid
    bench.manager.stop(name)
    assert not is_alive(pid)


def test_last_words_are_in_the_last_error(bench):
    name = bench.started(bench.spec(argv=("/bin/sh", "-c", "echo going down; sleep 0.4; exit 9")))
    wait_until(lambda: bench.manager.status(name).last_error != "", "the end was noticed")
    error = bench.manager.status(name).last_error
    assert "exit status 9" in error
    assert "going down" in error
    assert len(error) < 5000


def test_ended_services_leave_no_zombies(bench):
    name = bench.started(bench.notifying())
    for _ in range(3):
        former = bench.running_pid(name)
        os.kill(former, signal.SIGKILL)
        bench.wait_for_new_pid(name, former)
        assert not Path(f"/proc/{former}").exists()
    former = bench.running_pid(name)
    bench.manager.stop(name)
    assert not Path(f"/proc/{former}").exists()
