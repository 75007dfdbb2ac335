# SPDX-License-Identifier: Apache-2.0
"""Our agent starts on what Octavia's own has left running. Inside a machine that test_takeover.py boots."""

import shutil
from pathlib import Path

import pytest

from amphora.system.namespaces import call_inside, enter
from amphora.testing.agent_client import AMPHORA_ID
from amphora.testing.member import Member
from tests.functional.service.installed_agent import (
    CERTIFICATES,
    CONFIG,
    REPOSITORY,
    UNIT,
    InstalledAgent,
    must,
    property_of,
    run,
    wait_until,
)
from tests.interop.balancers import LOAD_BALANCER, balancer, identity, listener, pool
from tests.interop.driver import Controller, DriverFailed
from tests.support import octavia_agent
from tests.support.octavia_agent import BASE, NAMESPACE, VIP
from tests.support.traffic import Load, request_once

pytestmark = pytest.mark.real_commands

SERVICE = f"haproxy-{LOAD_BALANCER}.service"


@pytest.fixture(scope="module")
def member():
    octavia_agent.make_namespace()
    member = call_inside(NAMESPACE, Member)
    yield member
    member.close()


@pytest.fixture(scope="module")
def agent():
    return InstalledAgent()


@pytest.fixture(scope="module")
def controller(agent):
    certificates = CONFIG.parent / "certs"
    pki = agent.pki
    pki.server(AMPHORA_ID, "127.0.0.1", file_name="server.pem", key="rsa")
    settings = {
        "amphora": {"id": AMPHORA_ID, "lb_network_ip": "127.0.0.1", "vrrp_ip": "203.0.113.4", "ha_ip": VIP},
        "haproxy_amphora": {
            "bind_port": 9443,
            "client_cert": str(certificates / "client.pem"),
            "server_ca": str(pki.ca_path),
            "connection_max_retries": 10,
            "connection_retry_interval": 1,
        },
        "certificates": {"cert_manager": "local_cert_manager", "storage_path": "/tmp"},
    }
    controller = Controller("newest", settings, Path("/tmp/controller.log"))
    yield controller
    controller.close()


def document(member, *ports):
    # The limit of this machine is far below that of an amphora.
    listeners = [listener(number, port, 1, connection_limit=1000) for number, port in enumerate(ports, 1)]
    targets = pool(1, ("127.0.0.1", member.port))
    return balancer(listeners, [targets], additional_vips=["127.0.0.1"])


@pytest.fixture(scope="module")
def left(controller, member):
    """The process id of the haproxy that is left, each time it is asked for."""
    octavia_agent.plug_vip("203.0.113.4/24", f"{VIP}/32")
    pid_file = octavia_agent.start_haproxy(LOAD_BALANCER, controller.render(balancer=document(member, 80)))
    return lambda: octavia_agent.first_line(pid_file)


@pytest.fixture(scope="module")
def taken_over(left, agent):
    """Our agent on it, started under load."""
    pid = left()
    with load() as traffic:
        shutil.copyfile(REPOSITORY / "etc/systemd/amphora-agent.service", UNIT)
        must("systemctl", "daemon-reload")
        must("systemctl", "enable", "--now", "amphora-agent")
        wait_until(agent.serves, "the agent serves")
        traffic.wait_for(50)
    assert traffic.failures == []
    assert left() == pid
    return left


def load():
    return Load(80, clients=2, enter=lambda: enter(NAMESPACE))


def served(port=80, address=VIP):
    return call_inside(NAMESPACE, lambda: request_once(port, address)) is None


def test_traffic_goes_on_and_everything_is_reported(taken_over, controller):
    pid = taken_over()
    assert served()
    assert [each["uuid"] for each in controller.listeners()] == [identity(1, 1)]
    assert controller.details()["haproxy_count"] == 1
    assert int(property_of(SERVICE, "MainPID")) == pid
    assert property_of(SERVICE, "ActiveState") == "active"
    assert property_of(SERVICE, "NRestarts") == "0"
    held = must("ip", "-n", NAMESPACE, "-o", "addr", "show", "dev", "eth1")
    assert "203.0.113.4/24" in held
    assert f"{VIP}/32" in held
    assert controller.interface(address=VIP) == "eth1"


def test_updates_by_a_controller_lose_no_request(taken_over, controller, member):
    pid = taken_over()
    with load() as traffic:
        for ports in ((80, 81), (80, 82)):
            assert controller.update(balancer=document(member, *ports)) == {"failed": []}
            traffic.wait_for(20)
            assert served(ports[1])
    assert traffic.failures == []
    assert taken_over() == pid
    assert not served(81)


def test_what_cannot_run_is_undone_while_traffic_goes_on(taken_over, controller, member):
    stored = BASE / LOAD_BALANCER / "haproxy.cfg"
    before = stored.read_bytes()
    with load() as traffic:
        with pytest.raises(DriverFailed, match="InternalServerError"):
            controller.update(balancer=document(member, 80, member.port))
        traffic.wait_for(20)
    assert traffic.failures == []
    assert stored.read_bytes() == before
    controller.reload(balancer=document(member, 80, 82))
    assert served(82)


def test_a_restart_of_the_agent_changes_nothing(taken_over, agent):
    pid = taken_over()
    with load() as traffic:
        must("systemctl", "restart", "amphora-agent")
        wait_until(agent.serves, "the agent serves")
    assert traffic.failures == []
    assert taken_over() == pid


def test_a_full_start_makes_it_one_of_ours(taken_over, agent, controller, member):
    pid = taken_over()
    assert agent.client.call("PUT", f"/1.0/loadbalancer/{LOAD_BALANCER}/stop").status == 202
    assert not served()
    controller.start(balancer=document(member, 80, 82))
    assert served()
    assert taken_over() != pid
    arguments = Path(f"/proc/{taken_over()}/cmdline").read_text()
    assert "master.sock" in arguments
    assert controller.update(balancer=document(member, 80, 83)) == {"failed": []}
    assert served(83)


def test_nothing_is_left_after_its_deletion(taken_over, controller, member):
    controller.delete(balancer=document(member, 80), listener_id=identity(1, 1))
    assert not served()
    assert not (BASE / LOAD_BALANCER).exists()
    assert run("systemctl", "is-active", SERVICE).returncode != 0
    assert run("systemctl", "is-enabled", SERVICE).returncode != 0
    assert not (CERTIFICATES / LOAD_BALANCER).exists()
