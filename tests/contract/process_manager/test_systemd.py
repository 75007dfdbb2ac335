# SPDX-License-Identifier: Apache-2.0
"""The systemd process manager, inside a machine booted with systemd. Needs root."""

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
    with booted_machine("pm-systemd") as machine:
        yield machine


def test_keeps_the_contract(machine):
    run_tests(machine, f"{HERE}/systemd_inside.py")


def test_does_what_only_systemd_can(machine):
    run_tests(machine, f"{HERE}/systemd_specifics_inside.py")


START = """
from amphora.drivers.process_manager.systemd import SystemdProcessManager
from amphora.models import ServiceSpec
from amphora.system.command import CommandRunner

manager = SystemdProcessManager(CommandRunner())
for name, namespace in (("rebooted", ""), ("stopped", ""), ("tenant", "late")):
    manager.install(ServiceSpec(name, "A service", ("/bin/sleep", "1000"), namespace=namespace))
    manager.start(name)
manager.stop("stopped")
"""

STATUS = """
from amphora.drivers.process_manager.systemd import SystemdProcessManager
from amphora.system.command import CommandRunner

manager = SystemdProcessManager(CommandRunner())
print(*(manager.status(name).state.value for name in ("rebooted", "stopped", "tenant")))
"""


def test_started_services_come_back_after_a_reboot(machine):
    machine.run("ip", "netns", "add", "late")
    run_script(machine, START)
    assert run_script(machine, STATUS) == "running stopped running"
    machine.reboot()
    # The namespace is gone; its service waits until the agent has made it again.
    assert run_script(machine, STATUS) == "running stopped starting"
    machine.run("ip", "netns", "add", "late")
    deadline = time.monotonic() + 20
    while run_script(machine, STATUS) != "running stopped running":
        assert time.monotonic() < deadline
