# SPDX-License-Identifier: Apache-2.0
"""Our agent beside a haproxy and a keepalived that Octavia's own has started. Run inside a machine."""

import shutil
import socket

import pytest

from amphora.system.addresses import addresses_in
from amphora.system.namespaces import call_inside, enter
from amphora.system.processes import children_of, command_line, process_ids
from amphora.testing.member import Member
from tests.functional.service.installed_agent import (
    CONFIG,
    REPOSITORY,
    UNIT,
    InstalledAgent,
    must,
    property_of,
    wait_until,
)
from tests.support import octavia_agent, vrrp_pair
from tests.support.listeners import configuration, hidden_frontend, listener_id
from tests.support.octavia_agent import BASE, KEEPALIVED, KEEPALIVED_SERVICE, NAMESPACE, VIP
from tests.support.traffic import Load, request_once

pytestmark = pytest.mark.real_commands

ONE = listener_id(1)
GLOBAL = f"global\n    user nobody\n    stats socket {BASE}/{ONE}.sock mode 0666 level user\n"
#: No interface can have it.
NO_ADDRESS = "ff02::77"


def balancer(member, *ports):
    binds = [f"127.0.0.1:{port}" for port in ports]
    return GLOBAL.encode() + configuration(ONE, binds, member.port)


def pair(*vips):
    return vrrp_pair.configuration(vips, 100, interval=0.1)


@pytest.fixture(scope="module")
def member():
    octavia_agent.make_namespace()
    member = call_inside(NAMESPACE, Member)
    yield member
    member.close()


@pytest.fixture(scope="module")
def haproxy(member):
    """Pid file of the haproxy that is left."""
    octavia_agent.plug_vip("203.0.113.4/24")
    return octavia_agent.start_haproxy(ONE, balancer(member, 80).decode())


@pytest.fixture(scope="module")
def keepalived(haproxy):
    """Pid file of the keepalived that is left, which holds the VIP."""
    pid_file = octavia_agent.start_keepalived(pair(VIP).decode())
    wait_until(lambda: VIP in held(), "keepalived holds the VIP")
    return pid_file


@pytest.fixture(scope="module")
def agent(haproxy, keepalived):
    """Our agent, started beside them."""
    before = octavia_agent.first_line(haproxy), octavia_agent.first_line(keepalived)
    agent = InstalledAgent()
    CONFIG.write_text(CONFIG.read_text() + "[haproxy_amphora]\napply_timeout = 5\n")
    shutil.copyfile(REPOSITORY / "etc/systemd/amphora-agent.service", UNIT)
    with load() as traffic:
        must("systemctl", "daemon-reload")
        must("systemctl", "enable", "--now", "amphora-agent")
        wait_until(agent.serves, "the agent serves")
    assert traffic.failures == []
    assert (octavia_agent.first_line(haproxy), octavia_agent.first_line(keepalived)) == before
    return agent


def load():
    return Load(80, clients=2, enter=lambda: enter(NAMESPACE))


def served(port=80):
    return call_inside(NAMESPACE, lambda: request_once(port)) is None


def held():
    return {str(each.address.ip) for each in addresses_in(NAMESPACE)}


def daemons():
    """Main processes of all keepalived on this machine."""
    found = [pid for pid in process_ids() if command_line(pid)[:1] == ("/usr/sbin/keepalived",)]
    return [pid for pid in found if not any(pid in children_of(other) for other in found)]


def asked(agent, action):
    return agent.client.call("PUT", f"/v0.1/vrrp/{action}")


def test_a_reload_of_an_adopted_haproxy_that_fails_after_its_signal_is_undone(agent, haproxy, member):
    pid, good = octavia_agent.first_line(haproxy), balancer(member, 80)
    with call_inside(NAMESPACE, lambda: socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        assert agent.client.upload(ONE, good + hidden_frontend(port)).status == 201
        workers = children_of(pid)
        answer = agent.client.act(ONE, "reload")
    assert answer.status == 500
    assert f"[127.0.0.1:{port}]" in answer.json["details"]
    assert "haproxy goes on with its last proven configuration" in answer.json["details"]
    assert octavia_agent.first_line(haproxy) == pid
    assert children_of(pid) != workers, "the restored configuration was loaded anew"
    assert (BASE / ONE / "haproxy.cfg").read_bytes() == good


def test_the_next_good_reload_of_it_loses_no_request(agent, member):
    with load() as traffic:
        assert agent.client.upload(ONE, balancer(member, 80, 81)).status == 201
        assert agent.client.act(ONE, "reload").status == 202
        traffic.wait_for(20)
    assert traffic.failures == []
    assert served(81)


def test_keepalived_goes_on_as_a_service_of_ours(agent, keepalived):
    pid = octavia_agent.first_line(keepalived)
    assert daemons() == [pid]
    assert VIP in held()
    assert int(property_of(KEEPALIVED_SERVICE, "MainPID")) == pid
    assert property_of(KEEPALIVED_SERVICE, "FragmentPath").startswith("/etc/systemd/system/")


@pytest.mark.parametrize("action", ["start", "reload"])
def test_it_is_reloaded_and_never_joined_by_another(agent, keepalived, action):
    pid, more = octavia_agent.first_line(keepalived), f"203.0.113.{len(action)}"
    assert agent.client.call("PUT", "/v0.1/vrrp/upload", pair(VIP, more)).status == 200
    answer = asked(agent, action)
    assert (answer.status, answer.json["details"]) == (202, "keepalived reloaded")
    assert {VIP, more} <= held()
    assert daemons() == [pid]


def test_what_it_cannot_take_up_is_undone(agent, keepalived):
    pid, before = octavia_agent.first_line(keepalived), KEEPALIVED.read_bytes()
    assert agent.client.call("PUT", "/v0.1/vrrp/upload", pair(VIP, NO_ADDRESS)).status == 200
    answer = asked(agent, "reload")
    assert answer.status == 500
    assert f"virtual addresses {NO_ADDRESS} are missing" in answer.json["details"]
    assert f"keepalived goes on with its last proven configuration (pid {pid})" in answer.json["details"]
    assert KEEPALIVED.read_bytes() == before
    assert VIP in held()
    assert daemons() == [pid]


def test_a_new_agent_changes_nothing(agent, keepalived):
    pid = octavia_agent.first_line(keepalived)
    must("systemctl", "restart", "amphora-agent")
    wait_until(agent.serves, "the agent serves")
    assert daemons() == [pid]
    assert VIP in held()


def test_a_full_start_makes_it_one_of_ours(agent, keepalived):
    assert asked(agent, "stop").status == 202
    assert daemons() == []
    assert VIP not in held()
    answer = asked(agent, "start")
    assert answer.status == 202, answer.json
    assert answer.json["details"] == "keepalived started"
    (pid,) = daemons()
    assert str(KEEPALIVED.with_name("agent.conf")) in command_line(pid)
    wait_until(lambda: VIP in held(), "it holds the VIP")
