# SPDX-License-Identifier: Apache-2.0
"""What the contract does not ask of the sysvinit process manager. Run inside a booted machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.drivers.process_manager.sysvinit import SysvinitProcessManager
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceState
from amphora.system.command import CommandRunner
from amphora.testing.service_bench import ServiceBench, is_alive, read_report, wait_until

pytestmark = pytest.mark.real_commands

SCRIPTS = Path("/etc/init.d")


def build(directory):
    return SysvinitProcessManager(directory / "state", CommandRunner())


@pytest.fixture
def bench(short_dir):
    bench = ServiceBench(build, short_dir)
    yield bench
    bench.close()


def service(name, verb):
    """Run a verb of a script as an operator does; return its exit status and what it printed."""
    done = subprocess.run(
        ["service", name, verb],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def status_of(name, verb):
    return service(name, verb)[0]


def end_agent(bench, name):
    """End the driver as if its process ended: whoever started a service then no longer is its parent."""
    pid = bench.manager.status(name).pid
    bench.manager.close()
    if pid is not None:
        threading.Thread(target=reap, args=(pid,), daemon=True).start()


def reap(pid):
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


def kinds(bench):
    """A spec for each way to become ready."""
    pid_file = bench.file("pid")
    daemon = bench.spec("--daemon", str(pid_file), readiness=Readiness.FORKING, pid_file=pid_file)
    return bench.spec(), bench.notifying("--slow", "0.2"), daemon


def test_script_gives_the_exit_statuses_of_the_lsb(bench):
    name = bench.started(bench.spec())
    assert [status_of(name, verb) for verb in ("status", "start", "try-restart", "status")] == [0, 0, 0, 0]
    end_agent(bench, name)
    pid = int(service(name, "status")[1].split()[-1])
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "it ended")
    assert status_of(name, "status") == 1
    assert [status_of(name, verb) for verb in ("stop", "stop", "status")] == [0, 0, 3]
    assert [status_of(name, verb) for verb in ("reload", "force-reload", "try-restart")] == [7, 7, 0]
    assert status_of(name, "nonsense") == 2
    bench.restart_agent()


@pytest.mark.parametrize("kind", range(3))
def test_service_of_the_script_is_taken_up_by_the_agent(bench, kind):
    spec = kinds(bench)[kind]
    name = bench.started(spec)
    end_agent(bench, name)
    assert [status_of(name, verb) for verb in ("restart", "status")] == [0, 0]
    pid = int(service(name, "status")[1].split()[-1])
    bench.restart_agent()
    assert bench.running_pid(name) == pid
    os.kill(pid, signal.SIGKILL)
    bench.wait_for_new_pid(name, pid)


@pytest.mark.parametrize("kind", range(3))
def test_stop_by_the_script_ends_all_processes(bench, kind):
    children, spec = bench.file("children"), kinds(bench)[kind]
    name = bench.started(
        replace(spec, argv=(*spec.argv, "--children", str(children), "--ignore-term"), stop_timeout=0.5)
    )
    wait_until(children.exists, "its children were started")
    pids = [bench.running_pid(name), *map(int, children.read_text().split())]
    end_agent(bench, name)
    assert status_of(name, "stop") == 0
    assert not any(is_alive(pid) for pid in pids)
    bench.restart_agent()


def test_script_checks_before_start_restart_and_reload(bench):
    signals, flag = bench.file("signals"), bench.file("broken")
    check = ("/bin/sh", "-c", f"test ! -e {flag} || {{ echo line 9 is wrong; exit 1; }}")
    name = bench.started(bench.notifying("--signals", str(signals), check_argv=check))
    pid = bench.running_pid(name)
    assert status_of(name, "reload") == 0
    wait_until(signals.exists, "the signal arrived")
    flag.touch()
    for verb in ("reload", "restart"):
        status, output = service(name, verb)
        assert (status, "line 9 is wrong" in output) == (6, True)
    assert bench.running_pid(name) == pid
    end_agent(bench, name)
    assert [status_of(name, verb) for verb in ("stop", "start", "status")] == [0, 6, 3]
    assert signals.read_text().split() == [str(int(signal.SIGUSR2))]
    bench.restart_agent()


def test_start_of_a_service_that_ends_at_once_fails_soon(bench):
    flag = bench.file("broken")
    script = f'test -e {flag} && {{ echo giving up; exit 3; }}; exec "$@"'
    spec = bench.notifying(start_timeout=45.0)
    name = bench.started(replace(spec, argv=("/bin/sh", "-c", script, "sh", *spec.argv)))
    end_agent(bench, name)
    assert status_of(name, "stop") == 0
    flag.touch()
    status, output = service(name, "start")
    assert (status, "failed to start" in output) == (1, True)
    assert "giving up" in bench.file(f"state/{name}.log").read_text()
    assert status_of(name, "status") == 3
    # Left by start-stop-daemon where it was ended while it waited.
    assert not list(Path("/run").glob(".s-s-d-notify*"))
    bench.restart_agent()


def test_restart_by_the_operator_ends_in_one_process(bench):
    starts = bench.file("starts")
    script = f'echo $$ >> {starts}; exec "$@"'
    spec = bench.notifying()
    name = bench.started(replace(spec, argv=("/bin/sh", "-c", script, "sh", *spec.argv)))
    former = bench.running_pid(name)
    assert status_of(name, "restart") == 0
    pid = bench.wait_for_new_pid(name, former)
    # The agent has waited for the script, and has started nothing itself.
    assert starts.read_text().split() == [str(former), str(pid)]
    os.kill(pid, signal.SIGKILL)
    bench.wait_for_new_pid(name, pid)


def test_service_that_the_operator_stops_is_started_again(bench):
    name = bench.started(bench.spec())
    former = bench.running_pid(name)
    assert status_of(name, "stop") == 0
    bench.wait_for_new_pid(name, former)


def started_by_hand(bench):
    """Start a service by its script only; return its name, its main process and where it tells signals."""
    path = bench.file("signals")
    traps = f"trap 'echo TERM >> {path}; exit' TERM; trap 'echo USR2 >> {path}' USR2"
    script = f"{traps}; while :; do sleep 0.02; done"
    name = bench.install(bench.spec(argv=("/bin/sh", "-c", script)))
    assert status_of(name, "start") == 0
    return name, bench.running_pid(name), path


def test_service_that_the_operator_starts_is_seen_and_started(bench):
    name, pid, _ = started_by_hand(bench)
    bench.manager.start(name)
    assert bench.running_pid(name) == pid
    os.kill(pid, signal.SIGKILL)
    bench.wait_for_new_pid(name, pid)


def test_service_that_the_operator_starts_can_be_reloaded_and_stopped(bench):
    name, pid, path = started_by_hand(bench)
    bench.manager.reload(name)
    wait_until(path.exists, "the signal arrived")
    bench.manager.stop(name)
    assert path.read_text().split() == ["USR2", "TERM"]
    assert not is_alive(pid)
    assert bench.manager.status(name).state is ServiceState.STOPPED


def links(name):
    return sorted(path.name[0] for level in "2345" for path in Path(f"/etc/rc{level}.d").glob(f"???{name}"))


def test_started_service_is_enabled_and_stopped_one_is_not(bench):
    name = bench.install(bench.spec())
    assert "S" not in links(name)
    bench.manager.start(name)
    assert links(name) == ["S"] * 4
    bench.manager.stop(name)
    assert "S" not in links(name)
    bench.manager.start(name)
    assert links(name) == ["S"] * 4


def traces(name, directory):
    places = (Path("/etc"), Path("/run"), Path("/var/lib"), directory)
    return [path for place in places for path in place.rglob(f"*{name}*")]


def test_removed_service_leaves_no_trace(bench):
    name = bench.started(bench.spec())
    assert len(traces(name, bench.directory)) > 3
    os.kill(bench.running_pid(name), signal.SIGKILL)
    bench.manager.remove(name)
    assert traces(name, bench.directory) == []
    assert name not in Path("/etc/init.d/.depend.start").read_text()


def test_scripts_of_others_are_left_alone(bench):
    path = SCRIPTS / f"foreign-{os.getpid()}"
    path.write_text("#!/bin/sh\n### BEGIN INIT INFO\n# Provides: foreign\n### END INIT INFO\n")
    before = path.read_bytes()
    try:
        assert bench.manager.status(path.name).state is ServiceState.ABSENT
        bench.manager.stop(path.name)
        bench.manager.remove(path.name)
        with pytest.raises(ServiceError, match="not written by amphora-agent"):
            bench.manager.install(replace(bench.spec(), name=path.name))
        assert path.read_bytes() == before
    finally:
        path.unlink()
    assert bench.manager.status("procps").state is ServiceState.ABSENT


@pytest.mark.parametrize("by", ["supervise", "install"])
def test_changed_template_reaches_an_old_script(bench, by):
    spec = bench.notifying()
    name = bench.started(spec)
    pid, script = bench.running_pid(name), SCRIPTS / name
    current = script.read_text()
    script.write_text(current.replace("$network", "$time").replace("Becomes the service", "Old"))
    if by == "supervise":
        bench.restart_agent()
    else:
        bench.manager.install(spec)
    assert script.read_text() == current
    assert os.access(script, os.X_OK)
    assert (bench.running_pid(name), links(name)) == (pid, ["S"] * 4)


def test_pid_file_of_another_process_is_not_trusted(bench):
    name = bench.started(bench.spec(restart=RestartPolicy(on_crash=False)))
    pid_file = Path(f"/run/amphora-service.{name}.pid")
    _, ticks, boot = pid_file.read_text().split()
    end_agent(bench, name)
    assert status_of(name, "stop") == 0
    with subprocess.Popen(["sleep", "1000"]) as innocent:
        own_ticks = Path(f"/proc/{innocent.pid}/stat").read_text().rpartition(")")[2].split()[19]
        for stale in (f"{ticks} {boot}", f"{own_ticks} another-boot"):
            pid_file.write_text(f"{innocent.pid}\n{stale}\n")
            assert status_of(name, "status") == 1
            assert build(bench.directory).status(name).pid is None
            assert status_of(name, "stop") == 0
        assert innocent.poll() is None
        innocent.kill()
    bench.restart_agent()


def test_name_that_cannot_be_registered_does_not_start(bench):
    # insserv passes over what looks like the leftover of an upgrade.
    spec = bench.spec()
    name = bench.install(replace(spec, name=f"{spec.name}.dpkg-old"))
    with pytest.raises(ServiceError, match="update-rc.d"):
        bench.manager.start(name)
    assert bench.manager.status(name).state is ServiceState.STOPPED


def test_path_with_an_equals_sign_is_executed(bench):
    directory = bench.file("a=b")
    directory.mkdir()
    spec, report = bench.notifying(), bench.file("report")
    (directory / "python").symlink_to(spec.argv[0])
    argv = (str(directory / "python"), *spec.argv[1:], "--report", str(report))
    name = bench.started(replace(spec, argv=argv))
    assert read_report(report)["pid"] == bench.running_pid(name)


def test_script_may_open_many_files(bench):
    name = bench.started(bench.spec())
    limits = Path(f"/proc/{bench.running_pid(name)}/limits").read_text()
    limit = next(line for line in limits.splitlines() if line.startswith("Max open files"))
    assert int(limit.split()[3]) > 1024
