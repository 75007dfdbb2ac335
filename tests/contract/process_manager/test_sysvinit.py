# SPDX-License-Identifier: Apache-2.0
"""The sysvinit process manager, inside a machine booted with sysvinit. Needs root."""

from __future__ import annotations

import time

import pytest

from tests.support.inside import run_script, run_tests
from tests.support.nspawn import booted_machine

pytestmark = [
    pytest.mark.real_commands,
    pytest.mark.skipif("os.geteuid() != 0", reason="booting a machine needs root"),
]

HERE = "tests/contract/process_manager"


@pytest.fixture(scope="module")
def machine():
    with booted_machine("pm-sysvinit", init="sysvinit") as machine:
        yield machine


def test_keeps_the_contract(machine):
    run_tests(machine, f"{HERE}/sysvinit_inside.py")


def test_does_what_only_sysvinit_can(machine):
    run_tests(machine, f"{HERE}/sysvinit_specifics_inside.py")


DRIVER = """
import pathlib
from amphora.drivers.process_manager.sysvinit import SysvinitProcessManager
from amphora.models import Readiness, ServiceSpec
from amphora.system.command import CommandRunner

manager = SysvinitProcessManager(pathlib.Path("/var/lib/services"), CommandRunner())
"""

START = """
notify = (
    "import os, socket, time;"
    "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET']);"
    "time.sleep(1000)"
)
manager.supervise()
for name, namespace in (("rebooted", ""), ("stopped", ""), ("tenant", "late"), ("idle", "")):
    argv = ("/usr/bin/python3", "-c", notify)
    spec = ServiceSpec(name, "A service", argv, namespace=namespace, readiness=Readiness.NOTIFY)
    manager.install(spec)
    if name != "idle":
        manager.start(name)
manager.stop("stopped")
manager.close()
"""

STATUS = """
print(*(manager.status(name).state.value for name in ("rebooted", "stopped", "tenant", "idle")))
"""

SUPERVISE = """
import time
manager.supervise()
deadline = time.monotonic() + 20
while manager.status("tenant").state.value != "running" and time.monotonic() < deadline:
    time.sleep(0.05)
manager.close()
"""

NAMESPACE_SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          amphora-netns
# Required-Start:    $local_fs
# Required-Stop:
# Default-Start:     2 3 4 5
# Default-Stop:
### END INIT INFO
[ "$1" != start ] || { sleep 0.3; ip netns add late; }
"""

AGENT_SCRIPT = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          amphora-agent
# Required-Start:    $local_fs $network
# Required-Stop:     $local_fs $network
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
### END INIT INFO
"""


def wait_for_states(machine, states):
    # Scripts of the runlevel may still run when the machine counts as up.
    deadline = time.monotonic() + 30
    while (found := run_script(machine, DRIVER + STATUS)) != states:
        assert time.monotonic() < deadline, found


def add_script(machine, name, text):
    done = machine.run(
        "sh", "-c", 'printf %s "$2" > "/etc/init.d/$1" && chmod 755 "/etc/init.d/$1"', "sh", name, text
    )
    assert done.returncode == 0, done.stdout
    assert machine.run("update-rc.d", name, "defaults").returncode == 0


@pytest.fixture(scope="module")
def started(machine):
    assert machine.run("ip", "netns", "add", "late").returncode == 0
    run_script(machine, DRIVER + START)
    assert run_script(machine, DRIVER + STATUS) == "running stopped running stopped"
    return machine


def test_started_services_come_back_after_a_reboot(started):
    started.reboot()
    # The namespace is gone; its service waits until somebody has made it again.
    wait_for_states(started, "running stopped starting stopped")
    assert started.run("service", "rebooted", "status").returncode == 0
    assert started.run("ip", "netns", "add", "late").returncode == 0
    run_script(started, DRIVER + SUPERVISE)
    wait_for_states(started, "running stopped running stopped")


def test_services_come_back_after_a_power_cut_in_the_right_order(started):
    add_script(started, "amphora-netns", NAMESPACE_SCRIPT)
    add_script(started, "amphora-agent", AGENT_SCRIPT)
    links = started.run("sh", "-c", "ls /etc/rc2.d /etc/rc0.d").stdout.split()
    order = {link[0] + link[3:]: link[1:3] for link in links if link[:1] in "SK"}
    assert order["Samphora-netns"] < order["Stenant"] < order["Samphora-agent"]
    assert order["Kamphora-agent"] < order["Ktenant"]
    started.power_cut()
    # No agent has run since.
    wait_for_states(started, "running stopped running stopped")
    pid = started.run("service", "tenant", "status").stdout.split()[-1]
    assert started.run("ip", "netns", "identify", pid).stdout.strip() == "late"
