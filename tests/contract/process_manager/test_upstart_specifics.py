# SPDX-License-Identifier: Apache-2.0
"""What the contract does not ask of the upstart process manager, over an emulated upstart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from amphora.drivers.process_manager.upstart import UpstartProcessManager
from amphora.drivers.process_manager.upstart.jobs import JOB, MANUAL
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceState
from amphora.system.command import CommandRunner
from amphora.system.processes import parent_of
from amphora.testing.service_bench import ServiceBench, is_alive, read_report, wait_until
from tests.support.haproxy_service import CONFIG, ask
from tests.support.upstart.rig import booted_upstart, upstart_driver

pytestmark = pytest.mark.real_commands

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def machine(short_dir):
    with booted_upstart(short_dir) as machine:
        yield machine


@pytest.fixture
def bench(machine, short_dir):
    bench = ServiceBench(lambda directory: upstart_driver(machine, directory / "state"), short_dir)
    yield bench
    bench.close()


def conf(machine, name):
    return machine.jobs / f"{name}.conf"


def job_state(machine, name):
    return machine.run("status", name)[1].split(",")[0].split()[-1]


def test_jobs_are_children_of_init(bench, machine):
    name = bench.started(bench.notifying())
    assert parent_of(bench.running_pid(name)) == machine.pid
    assert machine.run("status", name)[1] == f"{name} start/running, process {bench.running_pid(name)}\n"


def test_changed_template_reaches_old_installs(bench, machine):
    spec = bench.notifying()
    name = bench.started(spec)
    path, pid = conf(machine, name), bench.running_pid(name)
    current = path.read_text()
    path.write_text(current.replace("respawn limit 10 5", "respawn limit 1 5"))
    bench.restart_agent()
    assert path.read_text() == current
    assert bench.running_pid(name) == pid
    path.write_text(current.replace("kill timeout", "# kill timeout"))
    bench.manager.install(spec)
    assert path.read_text() == current


def test_jobs_of_others_are_left_alone(bench, machine):
    machine.job("foreign", "exec sleep 1000")
    machine.run("start", "foreign")
    assert bench.manager.status("foreign").state is ServiceState.ABSENT
    bench.manager.stop("foreign")
    bench.manager.remove("foreign")
    with pytest.raises(ServiceError, match="not written by"):
        bench.manager.install(replace(bench.spec(), name="foreign"))
    bench.restart_agent()
    assert conf(machine, "foreign").read_text() == "exec sleep 1000\n"
    assert job_state(machine, "foreign") == "start/running"


def test_override_of_an_operator_is_left_alone(bench, machine):
    override = machine.jobs / "web.override"
    override.write_text("respawn limit unlimited\n")
    with pytest.raises(ServiceError, match=r"web\.override exists and was not written by"):
        bench.manager.install(replace(bench.spec(), name="web"))
    assert [path.name for path in machine.jobs.iterdir()] == ["web.override"]


def test_removed_service_leaves_no_trace(bench, machine):
    name = bench.started(bench.notifying())
    os.kill(bench.running_pid(name), signal.SIGKILL)
    bench.manager.remove(name)
    state = bench.directory / "state"
    assert [*machine.jobs.iterdir(), *machine.logs.iterdir(), *state.iterdir()] == []
    assert machine.run("status", name)[2] == f"status: Unknown job: {name}\n"


@pytest.mark.parametrize("end", ["kill", "shut_down"])
def test_reboot_brings_back_what_was_started(bench, machine, end):
    started, stopped = bench.started(bench.spec()), bench.started(bench.spec())
    bench.manager.stop(stopped)
    former = bench.running_pid(started)
    bench.manager.close()
    getattr(machine, end)()
    assert not is_alive(former)
    machine.boot()
    wait_until(lambda: job_state(machine, started) == "start/running", "upstart has started it")
    assert job_state(machine, stopped) == "stop/waiting"
    bench.restart_agent()
    bench.wait_for_new_pid(started, former)
    assert bench.manager.status(stopped).state is ServiceState.STOPPED


def test_haproxy_starts_at_boot_before_any_agent_listens(bench, machine):
    config, front = bench.file("haproxy.cfg"), bench.file("front")
    config.write_text(CONFIG.format(socket=front, text="at boot"))
    argv = ("/usr/sbin/haproxy", "-Ws", "-f", str(config))
    name = bench.started(bench.notifying(argv=argv, check_argv=(*argv[:1], "-c", "-f", str(config))))
    bench.manager.close()
    machine.kill()
    front.unlink()
    machine.boot()
    wait_until(front.exists, "haproxy has bound its address")
    wait_until(lambda: "at boot" in ask(front), "it serves")
    bench.restart_agent()
    bench.wait_for_state(name, ServiceState.RUNNING)


def test_crash_loop_is_taken_up_where_upstart_gives_up(bench, machine):
    starts = bench.file("starts")
    script = f"date +%s.%N >> {starts}; test $(wc -l < {starts}) -gt 1 || exec sleep 1000; exit 7"
    policy = RestartPolicy(delay=0.05, max_delay=2.0)
    name = bench.started(bench.spec(argv=("/bin/sh", "-c", script), restart=policy))
    bench.manager.close()
    os.kill(bench.running_pid(name), signal.SIGKILL)
    wait_until(lambda: job_state(machine, name) == "stop/waiting", "upstart has given up")
    # The first start and ten respawns.
    assert len(starts.read_text().split()) == 11
    bench.restart_agent()
    wait_until(lambda: len(starts.read_text().split()) > 22, "it is started again, and then once more")
    assert "exit status 7" in bench.manager.status(name).last_error
    times = [float(line) for line in starts.read_text().split()]
    # Upstart waited for 0.05 s each time; the agent saw crash after crash meanwhile.
    assert times[22] - times[21] >= 0.8


def test_failed_pre_start_is_retried_with_growing_delay(bench, machine):
    checks, broken = bench.file("checks"), bench.file("broken")
    check = ("/bin/sh", "-c", f"date +%s.%N >> {checks}; test ! -e {broken}")
    policy = RestartPolicy(delay=0.1, max_delay=5.0)
    name = bench.started(bench.notifying(check_argv=check, restart=policy))
    former = bench.running_pid(name)
    broken.touch()
    checks.unlink()
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: checks.exists() and len(checks.read_text().split()) >= 4, "three retries")
    times = [float(line) for line in checks.read_text().split()]
    # The delay before each; how long a start takes beyond that depends on the machine.
    assert times[2] - times[1] >= 0.2
    assert times[3] - times[2] >= 0.4
    assert "Job failed to start" in bench.manager.status(name).last_error
    broken.unlink()
    bench.wait_for_new_pid(name, former)


def test_service_that_an_operator_stops_is_started_again(bench, machine):
    name = bench.started(bench.notifying())
    former = bench.running_pid(name)
    assert machine.run("stop", name)[0] == 0
    bench.wait_for_new_pid(name, former)


def test_stopped_service_cannot_be_started_by_an_event(bench, machine):
    name = bench.install(bench.spec())
    assert (machine.jobs / f"{name}.override").read_text() == MANUAL
    machine.run("initctl", "emit", "runlevel", "RUNLEVEL=3", "PREVLEVEL=2")
    assert job_state(machine, name) == "stop/waiting"
    assert machine.run("start", name) == (1, "", "start: Job failed to start\n")
    assert "has stopped this service" in (machine.logs / f"{name}.log").read_text()


def test_operator_can_reload_with_initctl(bench, machine):
    signals = bench.file("signals")
    name = bench.started(bench.notifying("--signals", str(signals)))
    pid = bench.running_pid(name)
    assert machine.run("reload", name) == (0, "", "")
    wait_until(signals.exists, "the signal arrived")
    assert bench.running_pid(name) == pid


@pytest.mark.parametrize("readiness", [Readiness.EXEC, Readiness.FORKING])
def test_no_variable_of_the_job_changes_one_of_the_service(bench, readiness):
    report, pid_file = bench.file("report"), bench.file("pid")
    wanted = {
        "line": "1",
        "n": "2",
        "pid": "3",
        "boot": "4",
        "IFS": "0123456789 /",
        "TERM": "dumb",
        "born": "",
    }
    options = ["--report", str(report)]
    if readiness is Readiness.FORKING:
        options += ["--daemon", str(pid_file)]
    spec = bench.spec(*options, environment=wanted, readiness=readiness, pid_file=pid_file)
    name = bench.started(spec)
    seen = read_report(report)
    assert wanted.items() <= seen["environment"].items()
    assert not seen["environment"].keys() & {"UPSTART_JOB", "UPSTART_INSTANCE"}
    assert bench.running_pid(name) == seen["pid"]


def test_service_never_ready_after_a_crash_is_ended(bench):
    mute, started = bench.file("mute"), bench.file("started")
    become_mute = f"[ ! -e {mute} ] || {{ touch {started}; exec sleep 1000; }}"
    script = f"{become_mute}; exec {' '.join(bench.notifying().argv)}"
    name = bench.started(bench.notifying(argv=("/bin/sh", "-c", script), start_timeout=4.0))
    former = bench.running_pid(name)
    mute.touch()
    os.kill(former, signal.SIGKILL)
    wait_until(started.exists, "it runs and does not get ready")
    assert bench.manager.status(name).state is ServiceState.STARTING
    mute.unlink()
    bench.wait_for_new_pid(name, former)


def test_stop_of_a_dead_agent_is_finished_by_the_next(bench, machine):
    name = bench.started(bench.notifying())
    pid = bench.running_pid(name)
    bench.manager.close()
    (machine.jobs / f"{name}.override").write_text(MANUAL)
    bench.restart_agent()
    bench.wait_for_state(name, ServiceState.STOPPED)
    assert not is_alive(pid)


def test_interrupted_removal_is_made_good(bench, machine):
    ours, foreign = machine.jobs / "gone.override", machine.jobs / "theirs.override"
    ours.write_text(MANUAL)
    foreign.write_text("manual\n")
    name = bench.install(bench.spec())
    bench.restart_agent()
    assert sorted(path.name for path in machine.jobs.glob("*.override")) == [
        f"{name}.override",
        "theirs.override",
    ]


def test_process_stays_ready_when_its_spec_comes_to_ask_for_more(bench):
    spec = bench.spec()
    name = bench.started(spec)
    before = bench.manager.status(name)
    bench.manager.install(replace(spec, readiness=Readiness.NOTIFY))
    assert bench.manager.status(name) == before
    bench.restart_agent()
    assert bench.manager.status(name) == before


def test_record_of_another_boot_is_not_trusted(bench):
    name = bench.install(bench.spec())
    with subprocess.Popen(["/bin/sleep", "1000"]) as innocent:
        stat = Path(f"/proc/{innocent.pid}/stat").read_text().rpartition(")")[2].split()
        record = bench.directory / "state" / f"{name}.process"
        record.write_text(f"{innocent.pid} {stat[19]} the-boot-before\n")
        assert bench.manager.status(name).pid is None
        bench.manager.stop(name)
        assert innocent.poll() is None
        innocent.kill()


def test_job_that_upstart_does_not_take_is_not_installed(bench, machine, short_dir):
    elsewhere = short_dir / "elsewhere"
    elsewhere.mkdir()
    manager = UpstartProcessManager(CommandRunner(), short_dir / "s", elsewhere, initctl=machine.initctl)
    with pytest.raises(ServiceError, match="does not accept"):
        manager.install(bench.spec())
    assert list(elsewhere.iterdir()) == []
    manager.close()


def test_damaged_job_does_not_keep_others_from_being_taken_up(bench, machine):
    name = bench.started(bench.notifying())
    former = bench.running_pid(name)
    machine.job("damaged", JOB.header, "# Spec: {")
    bench.manager.close()
    manager = upstart_driver(machine, bench.directory / "state")
    with pytest.raises(ServiceError, match="job damaged"):
        manager.supervise()
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: manager.status(name).pid not in (None, former), "it is supervised")
    manager.close()
    conf(machine, "damaged").unlink()
    bench.restart_agent()


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("echo 'initctl 5.0'", "upstart does not run this machine: initctl version says 'initctl 5.0'"),
        ("echo no bus >&2; exit 1", "upstart does not run this machine: initctl version says 'no bus'"),
        ("sleep 100", "upstart does not run this machine: .* did not finish within 1 s"),
    ],
)
def test_other_inits_are_told_from_upstart(short_dir, script, sentence):
    initctl = short_dir / "initctl"
    initctl.write_text(f"#!/bin/sh\n{script}\n")
    initctl.chmod(0o755)
    manager = UpstartProcessManager(CommandRunner(), short_dir, short_dir, initctl=initctl)
    with pytest.raises(DriverUnavailable, match=sentence):
        manager.check_available()
    manager.close()


def test_machine_without_upstart_is_told(short_dir, machine):
    missing = short_dir / "missing"
    for keywords in ({"initctl": missing}, {"initctl": machine.initctl, "job_directory": missing}):
        manager = UpstartProcessManager(CommandRunner(), short_dir / "s", **keywords)
        with pytest.raises(DriverUnavailable, match=f"upstart.*{missing}"):
            manager.check_available()
        manager.close()


@pytest.mark.skipif("os.geteuid() != 0", reason="making a network namespace needs root")
def test_namespace_is_waited_for_at_boot(bench, machine):
    namespace = f"amp-ups-{os.getpid()}"
    make, drop = ((*("ip", "netns"), verb, namespace) for verb in ("add", "del"))
    subprocess.run(make, check=True)
    try:
        name = bench.started(bench.spec(namespace=namespace))
        bench.manager.close()
        machine.kill()
        subprocess.run(drop, check=True)
        machine.boot()
        assert job_state(machine, name) == "start/pre-start"
        subprocess.run(make, check=True)
        wait_until(lambda: job_state(machine, name) == "start/running", "it runs in the namespace made late")
        bench.restart_agent()
        bench.manager.remove(name)
    finally:
        subprocess.run(drop, check=False)


# Over the machine's own directories, in a mount namespace where they are copies that nobody else sees.
AT_USUAL_PLACES = """
import sys
from pathlib import Path
from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.upstart import UpstartProcessManager
from amphora.models import ServiceSpec
from amphora.system.command import CommandRunner
from tests.support.upstart.rig import Upstart

directory = Path(sys.argv[1])
machine = Upstart(directory, root=Path("/"))
machine.boot()
manager = UpstartProcessManager.create(
    DriverContext(directory / "state", directory, directory, "", CommandRunner())
)
manager.check_available()
manager.supervise()
manager.install(ServiceSpec("web", "A service", ("/bin/sleep", "1000")))
manager.start("web")
print(manager.status("web").state.value, *sorted(path.name for path in Path("/etc/init").iterdir()))
manager.close()
machine.kill()
"""


@pytest.mark.skipif("os.geteuid() != 0", reason="mounts need root")
def test_works_at_the_usual_places(short_dir):
    top = short_dir / "m"
    # /sbin is a link to /usr/sbin.
    mounts = [
        f"mount -t overlay o -o lowerdir={path},upperdir={top}/{n}/u,workdir={top}/{n}/w {path}"
        for n, path in enumerate(("/usr/sbin", "/etc", "/var/log"))
    ]
    prepare = f"mkdir {top}; mount -t tmpfs t {top}; mkdir -p {top}/{{0,1,2}}/{{u,w}}"
    script = "\n".join(("set -e", prepare, *mounts, 'exec "$0" -c "$1" "$2"'))
    argv = ("unshare", "--mount", "bash", "-c", script, sys.executable, AT_USUAL_PLACES, str(short_dir))
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "running web.conf\n", done.stderr
    assert not Path("/etc/init/web.conf").exists()
