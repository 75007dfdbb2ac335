# SPDX-License-Identifier: Apache-2.0
"""The emulated upstart does what was observed of upstart 1.13.2, row by row."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from amphora.system.processes import parent_of
from amphora.testing.service_bench import is_alive, wait_until
from tests.support.haproxy_service import CONFIG
from tests.support.upstart.rig import booted_upstart

pytestmark = pytest.mark.real_commands

RUNNING = r"J start/running, process \d+\n"
SLEEP = "exec sleep 1000"


@pytest.fixture
def machine(short_dir):
    with booted_upstart(short_dir) as machine:
        yield machine


def pid_of(machine, job="J"):
    return int(re.search(r"process (\d+)", machine.run("status", job)[1])[1])


def check(outcome, out, error, status):
    assert (outcome[0], outcome[2]) == (status, error)
    assert re.fullmatch(out, outcome[1]), outcome[1]


@pytest.mark.parametrize(
    ("verb", "out", "error", "status"),
    [
        ("status", RUNNING, "", 0),
        ("start", "", "start: Job is already running: J\n", 1),
        ("stop", "J stop/waiting\n", "", 0),
        ("restart", RUNNING, "", 0),
        ("reload", "", "", 0),
    ],
)
def test_running_job(machine, verb, out, error, status):
    machine.job("J", SLEEP, "reload signal CONT")
    check(machine.run("start", "J"), RUNNING, "", 0)
    former = pid_of(machine)
    check(machine.run(verb, "J"), out, error, status)
    assert is_alive(former) == (verb not in ("stop", "restart"))


@pytest.mark.parametrize(
    ("verb", "out", "error", "status"),
    [
        ("status", "J stop/waiting\n", "", 0),
        ("start", RUNNING, "", 0),
        ("stop", "", "stop: Unknown instance: \n", 1),
        ("restart", "", "restart: Unknown instance: \n", 1),
        ("reload", "", "reload: Unknown instance: \n", 1),
    ],
)
def test_stopped_job(machine, verb, out, error, status):
    machine.job("J", SLEEP)
    check(machine.run(verb, "J"), out, error, status)


@pytest.mark.parametrize(
    ("lines", "out", "error", "status"),
    [
        (["pre-start exec false", SLEEP], "", "start: Job failed to start\n", 1),
        (["exec /nonexistent/program"], "", "start: Job failed to start\n", 1),
        (["exec true"], "J stop/waiting\n", "", 0),
        (["task", "exec true"], "J stop/waiting\n", "", 0),
        (["task", "exec false"], "", "start: Job failed to start\n", 1),
        (["exec sleep 0.5; exit 1"], RUNNING, "", 0),
    ],
)
def test_start_of_jobs_that_end(machine, lines, out, error, status):
    machine.job("J", *lines)
    check(machine.run("start", "J"), out, error, status)
    wait_until(lambda: machine.run("status", "J") == (0, "J stop/waiting\n", ""), "a failure shows nowhere")


@pytest.mark.parametrize("verb", ["status", "start", "stop", "restart", "reload"])
def test_unknown_job_and_missing_name(machine, verb):
    assert machine.run(verb, "nosuch") == (1, "", f"{verb}: Unknown job: nosuch\n")
    hint = f"Try `{verb} --help' for more information.\n"
    assert machine.run(verb) == (1, "", f"{verb}: missing job name\n{hint}")


def test_other_commands(machine):
    hint = "Try `initctl --help' for more information.\n"
    assert machine.run("initctl", "bogus") == (1, "", f"initctl: invalid command: bogus\n{hint}")
    assert machine.run("initctl", "version") == (0, "init (upstart 1.13.2)\n", "")
    machine.job("J", "start on runlevel [2345]", "stop on runlevel [!2345]", SLEEP)
    machine.job("K", SLEEP)
    machine.run("start", "K")
    listed = machine.run("initctl", "list")[1].splitlines()
    assert sorted(listed) == ["J stop/waiting", f"K start/running, process {pid_of(machine, 'K')}"]
    config = "J\n  start on runlevel [2345]\n  stop on runlevel [!2345]\n"
    assert machine.run("initctl", "show-config", "J") == (0, config, "")
    assert machine.run("initctl", "emit", "anything") == (0, "", "")
    assert machine.run("initctl", "reload-configuration") == (0, "", "")
    assert machine.run("initctl", "status", "J") == (0, "J stop/waiting\n", "")


def test_instances(machine):
    machine.job("I", "instance $ID", SLEEP)
    assert machine.run("status", "I") == (1, "", "status: Unknown parameter: ID\n")
    check(machine.run("start", "I", "ID=a"), r"I \(a\) start/running, process \d+\n", "", 0)
    check(machine.run("status", "I", "ID=a"), r"I \(a\) start/running, process \d+\n", "", 0)
    assert machine.run("stop", "I", "ID=b") == (1, "", "stop: Unknown instance: b\n")


def stubborn(path):
    """A script that only SIGKILL ends; the file appears once it listens."""
    return ("script", "trap : TERM", f"touch {path}", "while :; do sleep 1000 || :; done", "end script")


def test_no_wait_tells_the_step(machine, short_dir):
    listens = short_dir / "listens"
    steps = ("pre-start exec sleep 0.5", "post-stop exec sleep 0.5", "kill timeout 1")
    machine.job("J", *steps, *stubborn(listens))
    check(machine.run("start", "--no-wait", "J"), r"J start/pre-start, process \d+\n", "", 0)
    wait_until(listens.exists, "it runs")
    pid = pid_of(machine)
    assert machine.run("stop", "--no-wait", "J") == (0, f"J stop/killed, process {pid}\n", "")
    wait_until(lambda: "stop/post-stop, process" in machine.run("status", "J")[1], "it was killed")
    wait_until(lambda: machine.run("status", "J")[1] == "J stop/waiting\n", "it is at rest")


def test_files_are_seen_at_once(machine):
    machine.job("J", SLEEP)
    assert machine.run("status", "J")[0] == 0
    (machine.jobs / "J.override").write_text("exec sleep 2000\n")
    machine.run("start", "J")
    assert Path(f"/proc/{pid_of(machine)}/cmdline").read_bytes() == b"sleep\0002000\0"
    machine.job("J", SLEEP, "nonsense here")
    machine.run("stop", "J")
    assert machine.run("status", "J") == (1, "", "status: Unknown job: J\n")


def test_job_deleted_while_it_runs(machine):
    machine.job("J", SLEEP)
    machine.run("start", "J")
    pid = pid_of(machine)
    (machine.jobs / "J.conf").unlink()
    check(machine.run("status", "J"), RUNNING, "", 0)
    status, out, error = machine.run("stop", "J")
    assert (status, out) == (1, "")
    assert "org.freedesktop.DBus" in error
    assert not is_alive(pid)
    assert machine.run("status", "J")[2] == "status: Unknown job: J\n"


def test_restart_keeps_the_old_definition(machine):
    machine.job("J", SLEEP)
    machine.run("start", "J")
    machine.job("J", "exec sleep 2000")
    machine.run("restart", "J")
    assert Path(f"/proc/{pid_of(machine)}/cmdline").read_bytes() == b"sleep\0001000\0"
    assert machine.run("stop", "J") == (0, "J stop/waiting\n", "")
    machine.run("start", "J")
    assert Path(f"/proc/{pid_of(machine)}/cmdline").read_bytes() == b"sleep\0002000\0"


def test_fourth_crash_is_one_too_many(machine):
    # Not 5 s, so that a slow machine does not space the crashes out.
    machine.job("J", "respawn", "respawn limit 3 60", SLEEP)
    machine.run("start", "J")
    for _ in range(3):
        pid = pid_of(machine)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda former=pid: runs_as_another(machine, former), "it runs again")
    os.kill(pid_of(machine), signal.SIGKILL)
    wait_until(lambda: machine.run("status", "J") == (0, "J stop/waiting\n", ""), "init has given up")
    assert "init: J respawning too fast, stopped" in machine.kernel_log.read_text()


def runs_as_another(machine, former):
    line = machine.run("status", "J")[1]
    return re.fullmatch(RUNNING, line) is not None and f" {former}\n" not in line


def test_normal_exit_is_no_crash(machine):
    machine.job("J", "respawn", "normal exit 0 TERM", SLEEP)
    machine.run("start", "J")
    os.kill(pid_of(machine), signal.SIGTERM)
    wait_until(lambda: machine.run("status", "J")[1] == "J stop/waiting\n", "it is not started again")


def test_kill_timeout(machine, short_dir):
    listens = short_dir / "listens"
    machine.job("J", "kill timeout 1", *stubborn(listens))
    machine.run("start", "J")
    wait_until(listens.exists, "it runs")
    pid, began = pid_of(machine), time.monotonic()
    assert machine.run("stop", "J") == (0, "J stop/waiting\n", "")
    assert time.monotonic() - began >= 1
    assert not is_alive(pid)
    assert f"init: J main process ({pid}) killed by KILL signal" in machine.kernel_log.read_text()


def test_reload_signal_goes_to_the_main_process(machine, short_dir):
    seen = short_dir / "seen"
    lines = ("script", f"trap 'echo USR2 >> {seen}' USR2", f"echo ready >> {seen}")
    machine.job("J", "reload signal USR2", *lines, "while :; do sleep 0.05; done", "end script")
    machine.run("start", "J")
    wait_until(seen.exists, "it listens")
    pid = pid_of(machine)
    machine.run("reload", "J")
    wait_until(lambda: seen.read_text() == "ready\nUSR2\n", "the signal arrived")
    assert pid_of(machine) == pid


def test_environment_of_a_job(machine):
    machine.job("J", 'env GREETING="hello \\"world\\""', "env N=1 # a remark", "task", "exec env")
    machine.run("start", "J", "EXTRA=two words")
    seen = set((machine.logs / "J.log").read_text().splitlines())
    assert seen >= {'GREETING=hello "world"', "N=1", "EXTRA=two words", "UPSTART_JOB=J"}
    assert len(seen) == len({"PATH", "TERM", "UPSTART_INSTANCE"} | {"GREETING", "N", "EXTRA", "UPSTART_JOB"})


def test_boot_starts_what_is_to_run(machine):
    machine.job("on", "start on runlevel [2345]", "stop on runlevel [!2345]", SLEEP)
    machine.job("off", "start on runlevel [2345]", SLEEP)
    (machine.jobs / "off.override").write_text("manual\n")
    machine.job("other", "start on runlevel [345]", SLEEP)
    machine.kill()
    machine.boot()
    assert "on start/running" in machine.run("status", "on")[1]
    for name in ("off", "other"):
        assert machine.run("status", name)[1] == f"{name} stop/waiting\n"
    pid = pid_of(machine, "on")
    machine.shut_down()
    assert not is_alive(pid)
    assert machine.run("status", "on")[0] == 1


def test_expect_daemon_hangs_for_ever_with_haproxy(machine, short_dir):
    config = short_dir / "haproxy.cfg"
    config.write_text(CONFIG.format(socket=short_dir / "front", text="x"))
    machine.job("J", "expect daemon", "kill timeout 1", f"exec /usr/sbin/haproxy -W -D -f {config}")
    check(machine.run("start", "J"), RUNNING, "", 0)
    pid = pid_of(machine)
    # The worker, whose end only the master learns.
    assert parent_of(parent_of(pid)) == machine.pid
    machine.run("stop", "--no-wait", "J")
    wait_until(lambda: not is_alive(pid), "haproxy has ended")
    time.sleep(1.2)
    # Beyond the time limit, too.
    assert machine.run("status", "J")[1] == f"J stop/killed, process {pid}\n"


@pytest.mark.parametrize(
    "text",
    [
        "exec",
        "nonsense",
        "kill timeout soon",
        "script\nfoo",
        "respawn limit 3",
        'exec echo "a',
        "reload signal NO",
    ],
)
def test_syntax_errors_make_a_job_unknown(machine, text):
    machine.job("J", text)
    assert machine.run("status", "J") == (1, "", "status: Unknown job: J\n")
