# SPDX-License-Identifier: Apache-2.0
"""Ports and interfaces under /1.0."""

import pytest

from amphora.errors import OperationFailed
from tests.support.load_balancers import MAC, MEMBER_PORT, OTHER_MAC, VIP

WHOLE_VIP = "203.0.113.2, 2001:0db8:0000:0000:0000:0000:0000:0004"


def refused(description):
    return {"error": f"400 Bad Request: {description}", "http_code": 400}


@pytest.fixture
def plugged(client, rig):
    rig.network.wires.plug(MAC)
    return client.send("/1.0/plug/vip/203.0.113.2", VIP)


def test_plug_vip_names_every_vip_in_full(plugged):
    assert plugged.status_int == 202
    assert plugged.json == {"message": "OK", "details": f"VIPs plugged on interface eth1: {WHOLE_VIP}"}


def test_a_vip_given_in_a_short_spelling(client, rig):
    rig.network.wires.plug(MAC)
    body = {"subnet_cidr": "2001:db8::/64", "gateway": None, "mac_address": MAC}
    answer = client.send("/1.0/plug/vip/2001:DB8::4", body)
    assert answer.json["details"].endswith("eth1: 2001:0db8:0000:0000:0000:0000:0000:0004")
    assert rig.network.wires.active["eth1"].routes


def test_a_vip_plugged_before_is_a_conflict_of_exactly_these_words(client, plugged):
    answer = client.send("/1.0/plug/vip/203.0.113.2", VIP)
    assert (answer.status_int, answer.json) == (409, {"message": "Interface already exists"})


def test_the_vips_port_is_eth1_and_members_come_after(client, rig):
    rig.network.wires.plug(OTHER_MAC)
    rig.network.wires.plug(MAC)
    assert client.send("/1.0/plug/network", MEMBER_PORT).json["details"] == "Plugged on interface eth2"
    assert "interface eth1" in client.send("/1.0/plug/vip/203.0.113.2", VIP).json["details"]


def test_the_port_of_a_vip_that_is_gone_does_not_keep_eth1(client, rig, plugged):
    rig.network.wires.active.clear()
    rig.network.wires.plug(OTHER_MAC)
    answer = client.send("/1.0/plug/vip/203.0.113.2", VIP | {"mac_address": OTHER_MAC})
    assert "interface eth1" in answer.json["details"]
    assert [config.mac_address for config in rig.network.stored()] == [OTHER_MAC]


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in ("subnet_cidr", "mac_address")),
        {"mtu": "large"},
        {"additional_vips": {}},
        {"additional_vips": [{"ip_address": "203.0.113.9"}]},
        {"host_routes": [{"destination": "x"}]},
    ],
)
def test_incomplete_parameters_of_a_vip(client, change):
    answer = client.send("/1.0/plug/vip/203.0.113.2", VIP | change)
    assert (answer.status_int, answer.json) == (400, refused("Invalid subnet information"))


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain"), (b"", "")],
)
@pytest.mark.parametrize(
    ("path", "description"),
    [
        ("/1.0/plug/vip/203.0.113.2", "Invalid subnet information"),
        ("/1.0/plug/network", "Invalid port information"),
    ],
)
def test_bodies_that_are_no_json_object(client, path, description, body, content_type):
    answer = client.do("POST", path, body, Content_Type=content_type)
    assert (answer.status_int, answer.json) == (400, refused(description))


@pytest.mark.parametrize(
    ("vip", "change", "beginning"),
    [
        ("203.0.113", {}, "Invalid VIP: "),
        ("203.0.113.2", {"subnet_cidr": "203.0.113.7/24"}, "Invalid VIP: "),
        ("203.0.113.2", {"additional_vips": [{"ip_address": "x"}]}, "Invalid VIP: "),
        ("203.0.113.2", {"vrrp_ip": "x"}, "Invalid VRRP Address: "),
    ],
)
def test_addresses_that_are_none(client, vip, change, beginning):
    answer = client.send(f"/1.0/plug/vip/{vip}", VIP | change)
    assert (answer.status_int, list(answer.json)) == (400, ["message"])
    assert answer.json["message"].startswith(beginning)
    assert len(answer.json["message"]) > len(beginning)


@pytest.mark.parametrize(
    ("path", "body"), [("/1.0/plug/vip/203.0.113.2", VIP), ("/1.0/plug/network", MEMBER_PORT)]
)
def test_a_port_that_is_not_there_yet_is_looked_for(client, rig, path, body):
    answer = client.send(path, body)
    assert (answer.status_int, answer.json) == (404, {"details": "No suitable network interface found"})
    assert rig.rescans == 1
    assert rig.network.stored() == []


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/1.0/plug/vip/203.0.113.2", VIP, "Error plugging VIP"),
        ("/1.0/plug/network", MEMBER_PORT | {"mac_address": MAC}, "Error plugging network"),
        (
            "/1.0/plug/network",
            MEMBER_PORT | {"mac_address": MAC, "vip_net_info": VIP | {"vip": "203.0.113.2"}},
            "Error plugging vip",
        ),
    ],
)
def test_a_plug_that_fails(client, rig, path, body, message):
    rig.network.wires.plug(MAC)
    # The second try is the one without host routes.
    for _ in range(2):
        rig.network.fail_next("activate", OperationFailed("RTNETLINK answers: no"))
    answer = client.send(path, body)
    assert (answer.status_int, answer.json) == (500, {"message": message, "details": "RTNETLINK answers: no"})


def test_plug_network_and_update(client, rig):
    rig.network.wires.plug(OTHER_MAC)
    for details in ("Plugged on interface eth2", *["Updated existing interface eth2"] * 2):
        rig.told.clear()
        answer = client.send("/1.0/plug/network", MEMBER_PORT)
        assert (answer.status_int, answer.json) == (202, {"message": "OK", "details": details})
        assert rig.told == [("10.0.0.5", "eth2")], "neighbours learn of every fixed address"


def test_a_member_port_without_fixed_addresses_asks_the_network(client, rig):
    rig.network.wires.plug(OTHER_MAC)
    assert client.send("/1.0/plug/network", {"mac_address": OTHER_MAC}).status_int == 202
    assert rig.network.wires.active["eth2"].automatic


@pytest.mark.parametrize(
    ("change", "body"),
    [
        ({"mac_address": None}, refused("Invalid port information")),
        ({"mtu": "large"}, refused("Invalid port information")),
        ({"vip_net_info": []}, refused("Invalid port information")),
        ({"fixed_ips": [{"ip_address": "x", "subnet_cidr": "y"}]}, {"message": "Invalid network port"}),
    ],
)
def test_parameters_of_a_member_port_that_are_no_good(client, change, body):
    answer = client.send("/1.0/plug/network", MEMBER_PORT | change)
    assert (answer.status_int, answer.json) == (400, body)


@pytest.mark.parametrize("path", ["/1.0/plug/network/", "/1.0/plug/vip/203.0.113.2/", "/1.0/plug/"])
def test_there_are_no_trailing_slashes(client, path):
    assert client.send(path, MEMBER_PORT).status_int == 404


@pytest.mark.parametrize("spelling", ["2001:db8::4", "2001:0DB8:0:0:0:0:0:4", "203.0.113.4"])
def test_an_interface_is_found_by_any_spelling_of_its_address(client, plugged, spelling):
    answer = client.do("GET", f"/1.0/interface/{spelling}")
    assert (answer.status_int, answer.json) == (200, {"message": "OK", "interface": "eth1"})


@pytest.mark.parametrize(
    ("address", "status", "message"),
    [
        ("10.5.0.1", 404, "Error interface not found for IP address"),
        ("10.6.0.1.1", 400, "Invalid IP address"),
    ],
)
def test_interfaces_that_are_not_found(client, address, status, message):
    answer = client.do("GET", f"/1.0/interface/{address}")
    assert (answer.status_int, answer.json) == (status, {"message": message})


def test_a_standby_does_not_hold_the_vip(client, rig):
    rig.pair_up()
    rig.network.wires.plug(MAC)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP).status_int == 202
    assert client.do("GET", "/1.0/interface/203.0.113.2").status_int == 404
    assert client.do("GET", "/1.0/interface/203.0.113.4").json["interface"] == "eth1"
