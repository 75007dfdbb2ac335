# SPDX-License-Identifier: Apache-2.0
"""A machine whose agent is there by nothing but its package and its unit is rebooted, and no agent comes."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest

from amphora.errors import OperationFailed
from amphora.system.namespaces import call_inside
from tests.e2e.inits import Systemd
from tests.e2e.installation import MEMBER_PORT, Installation, wait_until
from tests.support.listeners import configuration, listener_id
from tests.support.nspawn import booted_machine
from tests.support.traffic import request_once

pytestmark = [
    pytest.mark.real_commands,
    pytest.mark.skipif("os.geteuid() != 0", reason="booting a machine needs root"),
]

LISTENER, PORT = listener_id(1), 8101
VIP, MAC = "203.0.113.2", "fa:16:3e:00:00:01"
UNIT = "/etc/systemd/system/amphora-netns.service"
#: Stands for the hypervisor, which has attached the port when the machine boots.
HYPERVISOR = f"""[Unit]
DefaultDependencies=no
Before=sysinit.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=ip link add vip0 address {MAC} type veth peer name vip0peer
ExecStart=ip link set vip0peer up
[Install]
WantedBy=sysinit.target
"""


@pytest.fixture
def installation():
    scratch = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    try:
        with booted_machine("e2e-held-back", extra_binds=[scratch]) as machine:
            (scratch / "hypervisor.service").write_text(HYPERVISOR)
            installed = Installation(machine, Systemd(), scratch)
            installed.run("cp", str(scratch / "hypervisor.service"), "/etc/systemd/system/")
            installed.run("systemctl", "enable", "--now", "hypervisor")
            yield installed
            installed.stop_member()
    finally:
        shutil.rmtree(scratch)


def serves(installation):
    namespace = f"/proc/{installation.machine.leader}/root/run/netns/amphora-haproxy"
    with contextlib.suppress(OperationFailed):
        return call_inside(namespace, lambda: request_once(PORT, host=VIP, timeout=2)) is None
    return False


def start_to_serve(installation):
    port = {"subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "mac_address": MAC}
    answer = installation.client.post(f"/v0.1/plug/vip/{VIP}", port)
    assert answer.status == 202, answer.body
    upload = configuration(LISTENER, [f"{VIP}:{PORT}"], MEMBER_PORT)
    assert installation.client.upload(LISTENER, upload).status == 201
    installation.start_member()
    assert installation.client.act(LISTENER, "start").status == 202
    wait_until(lambda: serves(installation), what="traffic")


def test_traffic_is_back_before_the_agent(installation):
    installation.install()
    start_to_serve(installation)
    assert installation.run("systemctl", "is-enabled", "amphora-netns").strip() == "enabled"
    assert installation.run("cat", "/var/lib/octavia/plugged_interfaces") == f"{MAC} eth1\n"
    installation.run("systemctl", "disable", "amphora-agent")
    installation.stop_member()
    installation.machine.reboot()
    installation.start_member()
    wait_until(lambda: serves(installation), what="traffic without an agent")
    assert installation.agent_pid() is None
    installation.run("systemctl", "start", "amphora-agent")
    installation.wait_until_serving()
    assert serves(installation)
    assert installation.status(LISTENER) == "ACTIVE"


def test_a_unit_of_another_agent_stays(installation):
    path = "/usr/lib/systemd/system/amphora-netns.service"
    installation.run("sh", "-c", f"printf '[Service]\\nType=oneshot\\nExecStart=true\\n' > {path}")
    installation.run("systemctl", "daemon-reload")
    installation.install()
    assert installation.machine.run("test", "-e", UNIT).returncode == 1
    assert "ExecStart=true" in installation.run("systemctl", "cat", "amphora-netns")
