# SPDX-License-Identifier: Apache-2.0
"""One node of a pair: what is refused, and an agent killed in the middle of a topology change."""

import time

import pytest

from tests.support.vrrp_pair import FAMILIES, Network, configuration, eventually

BAD = b"vrrp_instance pair {\n  interface eth1\n  virtual_router_id 900\n  no_such_keyword\n"


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def node(stopped_agent, network):
    stopped_agent.configure({"network": {"namespace": network.nodes[0].namespace}})
    stopped_agent.start()
    yield stopped_agent
    if not stopped_agent.is_running():
        stopped_agent.start()
    stopped_agent.call("PUT", "/v0.1/vrrp/stop")


def main_pid(agent):
    return (agent.base_path / "vrrp" / "octavia-keepalived.pid").read_text()


def test_a_bad_configuration_is_refused_and_the_running_one_untouched(node):
    vips = FAMILIES["dual"]
    good = configuration(vips, 100)
    uploaded = node.call("PUT", "/v0.1/vrrp/upload", good)
    assert (uploaded.status, uploaded.json["details"]) == (200, "Configuration file is valid")
    started = node.call("PUT", "/v0.1/vrrp/start")
    assert (started.status, started.json["details"]) == (202, "keepalived started")
    pid = main_pid(node)
    refused = node.call("PUT", "/v0.1/vrrp/upload", BAD)
    assert refused.status == 400
    assert refused.json["message"] == "Invalid request"
    assert "no_such_keyword" in refused.json["details"]
    assert (node.base_path / "vrrp" / "octavia-keepalived.conf").read_bytes() == good
    again = node.call("PUT", "/v0.1/vrrp/start")
    assert (again.status, again.json["details"]) == (202, "keepalived reloaded")
    assert main_pid(node) == pid
    stopped = node.call("PUT", "/v0.1/vrrp/stop")
    assert (stopped.status, stopped.json["details"]) == (202, "keepalived stopped")
    assert node.call("PUT", "/v0.1/vrrp/stop").status == 202


PAIR = {
    "topology": "ACTIVE-STANDBY",
    "role": "ACTIVE",
    "ha_ip": "198.51.100.100",
    "secret": "b20e06cf1abcf29c",
}


def details(agent):
    return agent.call("GET", "/v0.1/details").json


def test_a_pair_whose_address_is_on_no_interface_is_refused(node):
    refused = node.post("/v0.1/topology", PAIR | {"ha_ip": "203.0.113.9"})
    assert (refused.status, refused.json["message"]) == (400, "Invalid request")
    assert "ha_ip" in refused.json["details"]
    assert "203.0.113.9; plug the VIP first" in refused.json["details"]
    assert (details(node)["topology"], details(node)["topology_status"]) == ("SINGLE", "OK")


def test_why_a_change_failed_is_told_until_the_next(node, network):
    broken = {"keepalived_cmd": "/no/keepalived"}
    node.stop()
    node.configure({"network": {"namespace": network.nodes[0].namespace}, "keepalived_vrrp": broken})
    node.start()
    assert node.post("/v0.1/topology", PAIR).status == 202
    eventually(lambda: details(node)["topology_status"] == "OK", "the change ends", 20)
    node.kill()
    node.start()
    for path in ("/v0.1/topology", "/v0.1/details"):
        told = node.call("GET", path).json
        assert told["topology"] == "SINGLE"
        assert "/no/keepalived cannot be run" in told["topology_error"]
    assert node.post("/v0.1/topology", {"topology": "ACTIVE-ACTIVE"}).status == 202
    eventually(lambda: details(node)["topology"] == "ACTIVE-ACTIVE", "the change is made", 20)
    assert "topology_error" not in details(node)


def test_an_agent_killed_in_a_change_ends_in_the_old_or_the_new_topology(node):
    seen = set()
    for number, delay in enumerate((0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0)):
        wanted = PAIR if details(node)["topology"] == "SINGLE" else {"topology": "SINGLE"}
        answer = node.post("/v0.1/topology", wanted)
        assert answer.status == 202, (number, answer.json)
        # The moment is what is tested: somewhere in the change, or just after it.
        time.sleep(delay)
        node.kill()
        node.start()
        eventually(lambda: details(node)["topology_status"] == "OK", "the change is settled", 20)
        told = node.call("GET", "/v0.1/topology").json
        assert told["topology"] in ("SINGLE", "ACTIVE-STANDBY")
        seen.add(told["topology"])
        runs = (node.base_path / "vrrp" / "octavia-keepalived.pid").exists()
        assert runs == (told["topology"] == "ACTIVE-STANDBY"), node.log_tail()
        assert node.call("PUT", "/v0.1/listeners/x/start").status == 400, "changes are served again"
    assert PAIR["secret"] not in node.log_path.read_text()
    assert len(seen) == 2, "the kills came too early or too late to show anything"
