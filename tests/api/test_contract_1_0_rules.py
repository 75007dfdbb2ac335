# SPDX-License-Identifier: Apache-2.0
"""What may come in by an SR-IOV port, under /1.0."""

import json

import pytest

from amphora.errors import OperationFailed
from tests.support.load_balancers import MAC, VIP

PATH = "/1.0/interface/203.0.113.4/rules"
RULES = [
    {"protocol": "TCP", "cidr": None, "port": 443},
    {"protocol": "vrrp", "cidr": "203.0.113.5/32", "port": 112},
]
DEFECT = {
    "error": "500 Internal Server Error: The server encountered an internal error and was unable to complete "
    "your request. Either the server is overloaded or there is an error in the application.",
    "http_code": 500,
}


@pytest.fixture
def put(client, rig):
    rig.network.wires.plug(MAC)
    client.send("/1.0/plug/vip/203.0.113.2", VIP | {"is_sriov": True})

    def put(rules, path=PATH, content_type="application/json"):
        answer = client.do("PUT", path, json.dumps(rules).encode(), Content_Type=content_type)
        return answer.status_int, answer.json

    return put


def test_rules_are_put_into_force_as_often_as_they_are_sent(put, rig):
    for _ in range(2):
        assert put(RULES) == (200, {"message": "OK"})
        assert "tcp dport 443 accept" in rig.nftables.loaded[-1]
        assert "ip saddr 203.0.113.5/32 ip protocol 112 accept" in rig.nftables.loaded[-1]
    assert put([]) == (200, {"message": "OK"})
    assert "dport 443" not in rig.nftables.loaded[-1]


def test_a_port_passed_through_is_closed_before_it_comes_up(client, rig, put):
    assert len(rig.nftables.loaded) == 1
    assert "policy drop" in rig.nftables.loaded[0]


def test_an_ordinary_port_has_no_rules(client, rig):
    rig.network.wires.plug(MAC)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP).status_int == 202
    assert rig.nftables.loaded == []


def test_a_port_that_cannot_be_protected_is_not_plugged(client, rig):
    rig.network.wires.plug(MAC)
    rig.nftables.errors = [OperationFailed("no nft here")]
    answer = client.send("/1.0/plug/vip/203.0.113.2", VIP | {"is_sriov": True})
    assert (answer.status_int, answer.json) == (
        500,
        {"message": "Error plugging VIP", "details": "no nft here"},
    )
    assert rig.network.wires.active == {}


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("203.0.113", (400, {"message": "Invalid IP address"})),
        ("192.0.2.77", (404, {"message": "Error interface not found for IP address"})),
    ],
)
def test_addresses_that_are_none_or_held_by_nobody(put, address, answer):
    assert put(RULES, f"/1.0/interface/{address}/rules") == answer


@pytest.mark.parametrize(
    "rules", [{}, None, [[]], [{"protocol": "icmp", "cidr": None, "port": 1}], [RULES[0] | {"x": 1}]]
)
def test_rules_of_another_form(put, rules):
    refused = {"error": "400 Bad Request: Invalid rules information", "http_code": 400}
    assert put(rules) == (400, refused)
    assert put(RULES, content_type="text/plain") == (400, refused)


def test_rules_that_nft_refuses_and_sources_that_are_no_networks(put, rig):
    assert put([RULES[0] | {"cidr": "nonsense"}]) == (500, DEFECT)
    rig.nftables.errors = [OperationFailed("syntax error")]
    assert put(RULES) == (500, DEFECT)


def test_only_put_is_known(client, put):
    assert client.do("GET", PATH).status_int == 405
    assert client.do("GET", "/1.0/interface/203.0.113.4/rule").status_int == 404
