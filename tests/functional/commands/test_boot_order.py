# SPDX-License-Identifier: Apache-2.0
"""A machine that boots without an agent: the namespace is there before the services that run in it."""

import sys

import pytest

from amphora.drivers.process_manager.systemd.units import render_unit
from amphora.models import ServiceSpec
from tests.support.nspawn import REPOSITORY, booted_machine

UNITS = "/etc/systemd/system"
BALANCER = ServiceSpec("balancer", "stands for haproxy", ("/bin/sleep", "1000"), namespace="amphora-haproxy")


@pytest.fixture
def machine():
    with booted_machine("boot-order") as machine:
        yield machine


def put(machine, path, text):
    done = machine.run("sh", "-c", 'printf %s "$TEXT" > "$0"', path, TEXT=text)
    assert done.returncode == 0, done.stdout


def test_services_of_the_namespace_start_at_boot_without_an_agent(machine):
    unit = (REPOSITORY / "etc/systemd/amphora-netns.service").read_text()
    command = f"ExecStart=env PYTHONPATH={REPOSITORY} {sys.executable} -B -m amphora.cmd.netns"
    put(machine, f"{UNITS}/amphora-netns.service", unit.replace("ExecStart=amphora-netns", command))
    put(machine, f"{UNITS}/balancer.service", render_unit(BALANCER, 252))
    machine.run("mkdir", "-p", "/var/lib/octavia")
    # Pulled in by what needs it, although it is not enabled itself.
    assert machine.run("systemctl", "enable", "balancer.service").returncode == 0
    machine.reboot()
    log = machine.run("journalctl", "--no-pager", "-b", "-u", "amphora-netns", "-u", "balancer").stdout
    assert machine.run("systemctl", "is-active", "balancer.service").stdout == "active\n", log
    assert machine.run("systemctl", "is-active", "amphora-netns.service").stdout == "active\n", log
    pid = machine.run("systemctl", "show", "-P", "MainPID", "balancer.service").stdout.strip()
    same = machine.run("sh", "-c", f"[ /proc/{pid}/ns/net -ef /run/netns/amphora-haproxy ] && echo same")
    assert same.stdout == "same\n"
    forwards = machine.run("ip", "netns", "exec", "amphora-haproxy", "cat", "/proc/sys/net/ipv4/ip_forward")
    assert forwards.stdout == "1\n"
