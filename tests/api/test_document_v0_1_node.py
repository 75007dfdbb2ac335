# SPDX-License-Identifier: Apache-2.0
"""The document's examples beyond listeners, and what is refused there."""

import json

import pytest

from amphora.errors import InvalidConfiguration, OperationFailed, VrrpActionFailed
from amphora.models import Role
from tests.api.conftest import LISTENER
from tests.support.core import AMPHORA_ID

PAIR = {
    "topology": "ACTIVE-STANDBY",
    "role": "ACTIVE",
    "ha_ip": " 203.0.113.2",
    "secret": "b20e06cf1abcf29c708d3b437f4a29892a0921d0",
}
MAC = "78:31:c1:ce:0b:3c"
VIP = {"subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "mac_address": MAC}


def post(client, path, parameters, **headers):
    headers.setdefault("Content_Type", "application/json")
    return client.do("POST", path, json.dumps(parameters).encode(), **headers)


def test_details(client):
    client.upload()
    answer = client.do("GET", "/v0.1/details")
    assert answer.status_int == 200
    details = answer.json
    assert set(details["memory"]) == {
        "total", "free", "available", "buffers", "cached", "swap_used", "shared", "slab", "committed_as",
    }  # fmt: skip
    assert all(isinstance(kilobytes, int) for kilobytes in details["memory"].values())
    assert set(details["cpu"]) == {"total", "user", "system", "soft_irq"}
    assert all(0 <= share <= 1 for share in details["cpu"].values())
    assert set(details["disk"]) == {"used", "available"}
    assert len(details["load"]) == 3
    assert details["listeners"] == [LISTENER]
    assert details["haproxy_count"] == 0
    assert details["active"] is True
    assert (details["topology"], details["topology_status"]) == ("SINGLE", "OK")
    assert (details["uuid"], details["api_version"]) == (AMPHORA_ID, "0.1")
    assert all(len(package) == 1 for package in details["packages"])
    assert isinstance(details["network_tx"], int)
    assert isinstance(details["network_rx"], int)
    assert all(set(each) == {"network_tx", "network_rx"} for each in details["networks"].values())


def test_topology_of_a_single_amphora(client):
    answer = client.do("GET", "/v0.1/topology")
    assert answer.status_int == 200
    assert answer.json.pop("hostname")
    assert answer.json | {"hostname": ""} == {
        "hostname": "", "uuid": AMPHORA_ID, "topology": "SINGLE", "role": "", "ha_ip": "",
    }  # fmt: skip


def test_a_topology_change(client, rig):
    answer = post(client, "/v0.1/topology", PAIR)
    assert (answer.status_int, answer.json) == (202, {"message": "OK"})
    rig.topology.close()
    for actual, told in ((Role.ACTIVE, "ACTIVE"), (Role.STANDBY, "STANDBY"), (Role.UNKNOWN, "STANDBY")):
        rig.vrrp.actual_role = actual
        body = client.do("GET", "/v0.1/topology").json
        assert (body["topology"], body["role"], body["ha_ip"]) == ("ACTIVE-STANDBY", told, "203.0.113.2")
        assert client.do("GET", "/v0.1/details").json["active"] is (told == "ACTIVE")
    assert post(client, "/v0.1/topology", PAIR).status_int == 200, "nothing changes"


def test_a_pair_needs_an_interface_for_its_address(client, rig):
    rig.vrrp.nowhere = {"203.0.113.2"}
    answer = post(client, "/v0.1/topology", PAIR)
    assert (answer.status_int, answer.json["message"]) == (400, "Invalid request")
    assert "ha_ip: 203.0.113.2" in answer.json["details"]
    assert "plug the VIP first" in answer.json["details"]
    assert client.do("GET", "/v0.1/details").json["topology_status"] == "OK"


@pytest.mark.parametrize("path", ["/v0.1/topology", "/v0.1/details"])
def test_a_failed_topology_change_is_told_until_the_next(client, rig, path):
    assert "topology_error" not in client.do("GET", path).json
    rig.vrrp.errors = [OperationFailed("keepalived has ended")]
    assert post(client, "/v0.1/topology", PAIR).status_int == 202
    rig.topology.close()
    told = client.do("GET", path).json
    assert told["topology"] == "SINGLE"
    assert told["topology_error"].startswith("keepalived has ended\n")
    assert PAIR["secret"] not in told["topology_error"]
    assert post(client, "/v0.1/topology", PAIR).status_int == 202
    rig.topology.close()
    assert "topology_error" not in client.do("GET", path).json


@pytest.mark.parametrize("topology", ["SINGLE", "ACTIVE-ACTIVE"])
def test_other_topologies_need_no_more(client, rig, topology):
    answer = post(client, "/v0.1/topology", {"topology": topology, "role": "ignored"})
    assert answer.status_int == (200 if topology == "SINGLE" else 202)
    rig.topology.close()
    assert client.do("GET", "/v0.1/topology").json["topology"] == topology


@pytest.mark.parametrize(
    ("change", "details"),
    [
        ({"topology": "BAD_TEST_DATA"}, "Unknown topology: BAD_TEST_DATA"),
        ({"topology": None}, "Missing topology"),
        ({"topology": 7}, "Invalid topology"),
        ({"role": "UNKNOWN"}, "Unknown role: UNKNOWN"),
        ({"ha_ip": "10.6.0.1.1"}, "Invalid ha_ip: 10.6.0.1.1"),
        ({"role": "X", "ha_ip": "", "secret": None}, "Unknown role: X; Invalid ha_ip; Missing secret"),
    ],
)
def test_every_failing_parameter_of_a_topology_is_named(client, change, details):
    answer = post(client, "/v0.1/topology", PAIR | change)
    assert (answer.status_int, answer.json) == (400, {"message": "Invalid request", "details": details})


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        *((body, "application/json") for body in (b"{", b"[]", b"\xff", b"", b"[" * 5000)),
        (b"{}", "text/plain"),
        (b"topology=SINGLE", "application/x-www-form-urlencoded"),
    ],
)
@pytest.mark.parametrize("path", ["/v0.1/topology", "/v0.1/plug/vip/203.0.113.2", "/v0.1/plug/network"])
def test_parameters_that_are_no_json_object(client, path, body, content_type):
    answer = client.do("POST", path, body, Content_Type=content_type)
    assert (answer.status_int, answer.json["message"]) == (400, "Invalid request")


def test_during_a_transition_changes_wait_and_reads_are_served(client, rig):
    client.upload()
    rig.vrrp.may_go_on.clear()
    post(client, "/v0.1/topology", PAIR)
    assert client.do("GET", "/v0.1/details").json["topology_status"] == "TOPOLOGY-CHANGE"
    one = f"/v0.1/listeners/{LISTENER}"
    for method, path in (
        ("PUT", f"{one}/start"), ("DELETE", one), ("PUT", f"{one}/certificates/a.pem"),
        ("PUT", "/v0.1/vrrp/start"), ("PUT", "/v0.1/vrrp/upload"), ("PUT", "/v0.1/certificate"),
        ("POST", "/v0.1/plug/network"),
        ("POST", "/v0.1/topology"), ("PUT", f"/0.5/listeners/{AMPHORA_ID}/{LISTENER}/haproxy"),
    ):  # fmt: skip
        answer = client.do(method, path)
        assert (answer.status_int, answer.json) == (503, {"message": "Topology transition in progress"}), path
        assert answer.headers["Retry-After"]
    for path in (
        "/info",
        "/v0.1/info",
        "/v0.1/details",
        "/v0.1/topology",
        "/v0.1/listeners",
        one,
        f"{one}/haproxy",
    ):
        assert client.do("GET", path).status_int == 200
        assert client.do("HEAD", path).status_int == 200
    rig.vrrp.may_go_on.set()
    rig.topology.close()
    assert client.do("PUT", f"{one}/start").status_int == 202


@pytest.mark.parametrize(
    ("vip", "subnet", "gateway"),
    [("203.0.113.2", "203.0.113.0/24", "203.0.113.1"), ("2001:DB8::2", "2001:db8::/64", "2001:db8::1")],
)
def test_plug_vip_and_find_its_interface(client, rig, vip, subnet, gateway):
    rig.network.wires.plug(MAC)
    body = {"subnet_cidr": subnet, "gateway": gateway, "mac_address": MAC.upper()}
    for _ in range(2):
        answer = post(client, f"/v0.1/plug/vip/{vip}", body)
        assert answer.status_int == 202
        assert answer.json == {"message": "OK", "details": f"VIP {vip.lower()} plugged on interface eth1"}
    found = client.do("GET", f"/v0.1/interface/{vip}")
    assert (found.status_int, found.json) == (200, {"message": "OK", "interface": "eth1"})


@pytest.mark.parametrize("path", ["/v0.1/plug/network/", "/v0.1/plug/network"])
def test_plug_network(client, rig, path):
    rig.network.wires.plug(MAC)
    body = {"mac_address": MAC, "fixed_ips": [{"ip_address": "10.0.0.5", "subnet_cidr": "10.0.0.0/24"}]}
    answer = post(client, path, body)
    assert answer.status_int == 202
    assert answer.json == {"message": "OK", "details": "Plugged interface eth2"}


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v0.1/plug/vip/203.0.113", VIP, 400, "Invalid VIP"),
        ("/v0.1/plug/vip/203.0.113.2", VIP | {"subnet_cidr": "x"}, 400, "Invalid subnet information"),
        ("/v0.1/plug/vip/203.0.113.2", {"mac_address": MAC}, 400, "Invalid subnet information"),
        ("/v0.1/plug/network", {}, 400, "Invalid request"),
    ],
)
def test_plugs_that_cannot_be(client, path, body, status, message):
    answer = post(client, path, body)
    assert (answer.status_int, answer.json["message"]) == (status, message)


@pytest.mark.parametrize("path", ["/v0.1/plug/vip/203.0.113.2", "/v0.1/plug/network"])
def test_a_port_that_is_not_there_is_worth_another_try(client, path):
    answer = post(client, path, VIP)
    assert answer.status_int == 404
    assert answer.json["message"] == "No suitable network interface found"
    assert "No suitable network interface found" in answer.json["details"]


@pytest.mark.parametrize(
    ("path", "what"), [("/v0.1/plug/vip/203.0.113.2", "VIP"), ("/v0.1/plug/network", "Port")]
)
def test_a_plug_that_fails_tells_the_tools_words(client, rig, path, what):
    rig.network.wires.plug(MAC)
    rig.network.fail_next("activate", OperationFailed("RTNETLINK answers: no"))
    answer = post(client, path, VIP)
    assert answer.status_int == 500
    assert answer.json == {"message": f"Error plugging {what}", "details": "RTNETLINK answers: no"}


def test_a_port_in_another_role_is_a_conflict(client, rig):
    rig.network.wires.plug(MAC)
    post(client, "/v0.1/plug/vip/203.0.113.2", VIP)
    answer = post(client, "/v0.1/plug/network", VIP)
    assert (answer.status_int, answer.json["message"]) == (409, "Interface already exists")


def test_interfaces_that_are_not_found(client):
    unknown = client.do("GET", "/v0.1/interface/10.5.0.1")
    assert (unknown.status_int, unknown.json) == (
        404,
        {"message": "Error interface not found for IP address"},
    )
    malformed = client.do("GET", "/v0.1/interface/10.6.0.1.1")
    assert (malformed.status_int, malformed.json) == (400, {"message": "Bad IP address version"})


def test_keepalived_upload(client, rig):
    answer = client.do("PUT", "/v0.1/vrrp/upload", b"vrrp_instance x {}")
    assert (answer.status_int, answer.json) == (200, {"message": "OK"})
    assert rig.vrrp.calls == [("upload", b"vrrp_instance x {}")]
    rig.vrrp.errors = [InvalidConfiguration("unknown keyword")]
    refused = client.do("PUT", "/v0.1/vrrp/upload", b"x")
    assert (refused.status_int, refused.json) == (
        400, {"message": "Invalid request", "details": "unknown keyword"},
    )  # fmt: skip
    rig.vrrp.errors = [OperationFailed("disk full")]
    failed = client.do("PUT", "/v0.1/vrrp/upload", b"x")
    assert (failed.status_int, failed.json["message"]) == (500, "Failed to upload keepalived configuration.")


@pytest.mark.parametrize(
    ("word", "done"),
    [("start", "started"), ("stop", "stopped"), ("reload", "reloaded"), ("START", "started")],
)
def test_keepalived_actions(client, rig, word, done):
    answer = client.do("PUT", f"/v0.1/vrrp/{word}")
    assert (answer.status_int, answer.json) == (202, {"message": "OK", "details": f"keepalived {done}"})
    reason = "keepalived process with PID 3352 not found"
    rig.vrrp.errors = [VrrpActionFailed(word.lower(), reason)]
    failed = client.do("PUT", f"/v0.1/vrrp/{word}")
    assert failed.status_int == 500
    assert failed.json == {
        "message": f"Failed to {word.lower()} keepalived service: {reason}",
        "details": reason,
    }


def test_an_unknown_keepalived_action(client):
    answer = client.do("PUT", "/v0.1/vrrp/BAD_TEST_DATA")
    assert answer.status_int == 400
    assert answer.json == {"message": "Invalid Request", "details": "Unknown action: BAD_TEST_DATA"}


def test_the_agents_certificate(client, rig, pki):
    leaf, other = pki.server("amphora"), pki.server("other")
    answer = client.do("PUT", "/v0.1/certificate", leaf.path.read_bytes())
    assert (answer.status_int, answer.json) == (202, {"message": "OK"})
    assert rig.agent_certificate.read_bytes() == leaf.path.read_bytes()
    for body, message in (
        (leaf.key_pem, "No certificate found"),
        (leaf.certificate_pem, "No RSA key found"),
        (leaf.certificate_pem + other.key_pem, "Certificate and key do not match"),
    ):
        refused = client.do("PUT", "/v0.1/certificate", body)
        assert (refused.status_int, refused.json) == (400, {"message": message})
    assert rig.agent_certificate.read_bytes() == leaf.path.read_bytes()
