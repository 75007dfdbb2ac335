# SPDX-License-Identifier: Apache-2.0
"""The agent as a sandboxed unit of a booted systemd. Run inside a machine that test_service.py boots."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from pathlib import Path

import pytest

from amphora.system.namespaces import call_inside
from amphora.testing.member import Member
from tests.functional.service.installed_agent import (
    REPOSITORY,
    UNIT,
    InstalledAgent,
    agent_pid,
    must,
    property_of,
    run,
    wait_until,
)
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import request_once

pytestmark = pytest.mark.real_commands

ONE, TWO = listener_id(1), listener_id(2)
NAMESPACE = "amphora-haproxy"
VIP_MAC, MEMBER_MAC = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
WATCHDOG = 6


@pytest.fixture(scope="module")
def agent():
    agent = InstalledAgent()
    shutil.copyfile(REPOSITORY / "etc/systemd/amphora-agent.service", UNIT)
    # Only so that the test of it need not wait for a minute.
    drop_in = UNIT.with_name(f"{UNIT.name}.d")
    drop_in.mkdir(exist_ok=True)
    (drop_in / "watchdog.conf").write_text(f"[Service]\nWatchdogSec={WATCHDOG}s\nTimeoutAbortSec=5s\n")
    must("systemctl", "daemon-reload")
    must("systemctl", "enable", "--now", "amphora-agent")
    yield agent
    must("systemctl", "disable", "--now", "amphora-agent")
    shutil.rmtree("/etc/octavia/interfaces")


@pytest.fixture(scope="module")
def listener(agent):
    """A listener in the tenant's namespace that has served; ports are plugged, as for a real one."""
    for mac, name in ((VIP_MAC, "vip0"), (MEMBER_MAC, "member0")):
        must("ip", "link", "add", name, "address", mac, "type", "veth", "peer", "name", f"{name}peer")
        must("ip", "link", "set", f"{name}peer", "up")
    vip = {"subnet_cidr": "198.51.100.0/24", "gateway": "198.51.100.1", "mac_address": VIP_MAC}
    answer = agent.client.post("/v0.1/plug/vip/198.51.100.10", vip)
    assert answer.status == 202, answer.body
    ips = [{"ip_address": "203.0.113.10", "subnet_cidr": "203.0.113.0/24"}]
    answer = agent.client.post("/v0.1/plug/network", {"mac_address": MEMBER_MAC, "fixed_ips": ips})
    assert answer.status == 202, answer.body
    member = call_inside(NAMESPACE, Member)
    agent.member_port = member.port
    # A port below 1024, and the tenant's address.
    body = configuration(ONE, ["198.51.100.10:80"], member.port)
    assert agent.client.upload(ONE, body).status == 201
    answer = agent.client.act(ONE, "start")
    assert answer.status == 202, answer.body
    yield ONE
    agent.client.call("DELETE", f"/v0.1/listeners/{ONE}")
    member.close()


def served(port=80, address="198.51.100.10"):
    return call_inside(NAMESPACE, lambda: request_once(port, address)) is None


def test_unit_satisfies_systemd():
    agent_unit = REPOSITORY / "etc/systemd/amphora-agent.service"
    InstalledAgent()
    done = run("systemd-analyze", "verify", "--man=no", str(agent_unit))
    assert (done.returncode, done.stdout) == (0, "")


def test_unit_is_active_once_it_serves(agent):
    assert property_of("amphora-agent", "ActiveState") == "active"
    assert agent.client.call("GET", "/info").status == 200
    log = must("journalctl", "-o", "cat", "-u", "amphora-agent")
    assert "process_manager driver: systemd (amphora-agent " in log
    assert "selected by auto: this machine was booted with systemd" in log


def test_agent_is_confined(agent):
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{agent_pid()}/status").read_text().splitlines()
    )
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    rights = int(status["CapEff"], 16)
    sys_module, sys_admin, sys_boot, mknod = 16, 21, 22, 27
    assert rights & 1 << sys_admin
    assert not rights & (1 << sys_module | 1 << sys_boot | 1 << mknod)
    # See the unit: a namespace made in a mount namespace of the agent's own would be no one else's.
    assert os.readlink(f"/proc/{agent_pid()}/ns/mnt") == os.readlink("/proc/1/ns/mnt")


def test_listener_runs_as_a_unit_in_the_namespace(agent, listener):
    assert served()
    unit = f"haproxy-{listener}.service"
    assert property_of(unit, "ActiveState") == "active"
    assert property_of(unit, "Type") == "notify"
    pid = property_of(unit, "MainPID")
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/1/ns/net")
    assert agent.client.call("GET", f"/v0.1/listeners/{listener}").json["status"] == "ACTIVE"


def test_what_holds_a_port_is_told_through_the_sandbox(agent, listener):
    body = configuration(TWO, ["198.51.100.10:80"], agent.member_port)
    assert agent.client.upload(TWO, body).status == 201
    answer = agent.client.act(TWO, "start")
    assert "haproxy" in answer.json["details"]
    agent.client.call("DELETE", f"/v0.1/listeners/{TWO}")


def test_reload_and_delete_work_through_the_sandbox(agent, listener):
    binds = ["198.51.100.10:80", "198.51.100.10:8080"]
    assert agent.client.upload(listener, configuration(listener, binds, agent.member_port)).status == 201
    assert agent.client.act(listener, "reload").status == 202
    assert served(8080)


def test_restart_of_the_agent_leaves_haproxy_alone(agent, listener):
    haproxy, before = property_of(f"haproxy-{listener}", "MainPID"), agent_pid()
    must("systemctl", "restart", "amphora-agent")
    assert agent_pid() not in (0, before)
    assert agent.serves()
    assert property_of(f"haproxy-{listener}", "MainPID") == haproxy
    assert served()


def test_systemctl_reload_reads_the_configuration_again(agent):
    before = agent_pid()
    must("systemctl", "reload", "amphora-agent")

    def was_read():
        log = must("journalctl", "-o", "cat", f"_PID={before}")
        return "configuration and TLS material were read again" in log

    wait_until(was_read, "the reload")
    assert agent_pid() == before


@contextlib.contextmanager
def stopped(pid):
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_agent_that_hangs_is_replaced(agent, listener):
    haproxy, before = property_of(f"haproxy-{listener}", "MainPID"), agent_pid()
    with stopped(before):
        wait_until(lambda: agent_pid() not in (0, before) and agent.serves(), "a new agent")
    log = must("journalctl", "-o", "cat", "-u", "amphora-agent")
    assert "Watchdog timeout" in log
    # Where each thread was, for whoever wants to know why.
    assert "Fatal Python error: Aborted" in log
    assert property_of(f"haproxy-{listener}", "MainPID") == haproxy
    assert served()


def test_agent_is_not_replaced_while_it_serves(agent):
    pid, since = agent_pid(), property_of("amphora-agent", "WatchdogTimestampMonotonic")

    def later():
        return int(property_of("amphora-agent", "WatchdogTimestampMonotonic")) > int(since) + WATCHDOG * 10**6

    wait_until(later, "signs of life for longer than the interval")
    assert agent_pid() == pid


@pytest.fixture
def new_port():
    """MAC address of a port that has just been attached."""
    mac = "fa:16:3e:00:00:07"
    must("ip", "link", "add", "port0", "address", mac, "type", "veth", "peer", "name", "port0peer")
    must("ip", "link", "set", "port0peer", "up")
    yield mac
    must("ip", "link", "delete", "port0peer")
    # Otherwise each later start of the agent would wait for the port to come back.
    for path in Path("/etc/octavia/interfaces").iterdir():
        if path.is_file() and mac in path.read_text():
            path.unlink()


@pytest.mark.parametrize(
    "drivers", [{"process_manager": "standalone"}, {"network": "ifupdown"}], ids=lambda d: next(iter(d))
)
def test_other_drivers_work_in_the_sandbox_too(agent, listener, new_port, drivers):
    agent.configure(**drivers)
    must("systemctl", "restart", "amphora-agent")
    try:
        body = configuration(TWO, ["127.0.0.1:443"], agent.member_port)
        assert agent.client.upload(TWO, body).status == 201
        answer = agent.client.act(TWO, "start")
        assert answer.status == 202, answer.body
        ips = [{"ip_address": "192.0.2.77", "subnet_cidr": "192.0.2.0/24"}]
        answer = agent.client.post("/v0.1/plug/network", {"mac_address": new_port, "fixed_ips": ips})
        assert answer.status == 202, answer.body
        assert "192.0.2.77" in must("ip", "-n", NAMESPACE, "address")
        must("systemctl", "restart", "amphora-agent")
        assert served(443, "127.0.0.1"), "services outlive the agent"
        assert agent.client.call("DELETE", f"/v0.1/listeners/{TWO}").status == 200
    finally:
        agent.configure()
        must("systemctl", "restart", "amphora-agent")


def test_directories_are_made_as_tmpfiles_say(tmp_path):
    path = REPOSITORY / "etc/tmpfiles.d/amphora-agent.conf"
    done = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(path))
    assert (done.returncode, done.stdout) == (0, "")
    modes = {
        str(directory.relative_to(tmp_path)): oct(directory.stat().st_mode & 0o777)
        for directory in tmp_path.rglob("octavia/**/")
    }
    assert modes == {
        "etc/octavia": "0o755",
        "etc/octavia/certs": "0o700",
        "etc/octavia/interfaces": "0o755",
        "var/lib/octavia": "0o755",
        "var/lib/octavia/certs": "0o700",
    }
