# SPDX-License-Identifier: Apache-2.0
"""Addresses, routes and rules of a VIP's interface, for a single amphora and for one of a pair."""

from ipaddress import ip_interface, ip_network

import pytest

from amphora.core.network.interface_plan import (
    held_elsewhere,
    held_here,
    member_interface,
    same_interface,
    vip_interface,
    vip_table,
    with_member_network,
    without_host_routes,
    without_member_network,
)
from amphora.core.network.plug_requests import parse_network_request, parse_vip_request
from amphora.models import Route, RoutingRule

PORT = {"subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "mac_address": "fa:16:3e:00:00:01"}
PORT6 = {"subnet_cidr": "2001:db8::/64", "gateway": "2001:db8::1", "mac_address": "fa:16:3e:00:00:01"}
OWN = {"vrrp_ip": "203.0.113.4"}
ROUTES = {"host_routes": [{"destination": "198.51.100.0/24", "nexthop": "203.0.113.5"}]}
MORE = {
    "additional_vips": [
        {"ip_address": "203.0.113.7", **{key: PORT[key] for key in ("subnet_cidr", "gateway")}},
        {"ip_address": "2001:db8::7", **{key: PORT6[key] for key in ("subnet_cidr", "gateway")}},
        {"ip_address": "192.0.2.7", "subnet_cidr": "192.0.2.0/24", "gateway": "192.0.2.1"},
    ]
}
ANY, ANY6, SUBNET = (ip_network(text) for text in ("0.0.0.0/0", "::/0", "203.0.113.0/24"))

REQUESTS = {
    "plain": ("203.0.113.2", PORT),
    "plain6": ("2001:db8::2", PORT6),
    "own": ("203.0.113.2", PORT | OWN),
    "own6": ("2001:db8::2", PORT6 | {"vrrp_ip": "2001:db8::4"}),
    "no-gateway": ("203.0.113.2", PORT | {"gateway": None}),
    "routes": ("203.0.113.2", PORT | OWN | ROUTES),
    "more": ("203.0.113.2", PORT | MORE | ROUTES),
    "all": ("203.0.113.2", PORT | OWN | MORE | ROUTES | {"mtu": 1450}),
}


def plan(name, interface="eth1"):
    return vip_interface(interface, parse_vip_request(*REQUESTS[name]))


def texts(addresses):
    return [str(address) for address in addresses]


def test_without_an_own_address_the_vip_carries_the_prefix():
    assert texts(plan("plain").addresses) == ["203.0.113.2/24"]
    assert texts(plan("plain6").addresses) == ["2001:db8::2/64"]


def test_beside_an_own_address_the_vip_is_a_single_host():
    assert texts(plan("own").addresses) == ["203.0.113.4/24", "203.0.113.2/32"]
    assert texts(plan("own6").addresses) == ["2001:db8::4/64", "2001:db8::2/128"]


def test_a_single_amphora_answers_by_the_vips_own_table():
    config = plan("own")
    assert set(config.routes) == {
        Route(ANY, "203.0.113.1", onlink=True),
        Route(ANY, "203.0.113.1", 1, onlink=True),
        Route(SUBNET, None, 1, "203.0.113.2"),
    }
    assert config.rules == (RoutingRule(ip_network("203.0.113.2/32"), 1),)


def test_one_of_a_pair_leaves_vip_rules_and_their_table_to_keepalived():
    config = held_elsewhere(plan("routes"))
    host = ip_network("198.51.100.0/24")
    assert texts(config.addresses) == ["203.0.113.4/24"]
    assert texts(config.floating) == ["203.0.113.2/32"]
    assert set(config.routes) == {
        Route(ANY, "203.0.113.1", onlink=True),
        Route(host, "203.0.113.5", onlink=True),
        Route(host, "203.0.113.5", 1, onlink=True),
    }
    assert config.rules == ()
    assert not config.automatic


def test_an_interface_left_without_addresses_asks_the_network():
    config = held_elsewhere(plan("plain"))
    assert config.automatic
    assert Route(SUBNET) in config.routes


def test_no_gateway_means_no_default_route():
    assert plan("no-gateway").routes == (Route(SUBNET, None, 1, "203.0.113.2"),)


def test_each_family_and_table_has_one_default_route():
    config = plan("all")
    defaults = [route for route in config.routes if route.destination in (ANY, ANY6)]
    assert sorted((route.destination.version, route.table) for route in defaults) == [
        (4, 1),
        (4, 254),
        (6, 1),
        (6, 254),
    ]
    assert {route.gateway for route in defaults} == {"203.0.113.1", "2001:db8::1"}


def test_subnets_that_no_address_covers_get_a_route():
    linked = [r.destination for r in plan("all").routes if r.gateway is None and r.table == 254]
    assert texts(linked) == ["2001:db8::/64", "192.0.2.0/24"]


@pytest.mark.parametrize("name", REQUESTS)
def test_a_hand_over_is_undone_by_the_way_back(name):
    config = plan(name)
    pair = held_elsewhere(config)
    assert not {address.ip for address in pair.addresses} & {address.ip for address in pair.floating}
    assert same_interface(held_here(pair), config)
    assert held_elsewhere(pair) == pair
    assert held_here(config) == config


def test_every_interface_has_a_table_of_its_own():
    assert [vip_table(name) for name in ("eth1", "eth4", "eth253", "eth0", "lan")] == [1, 4, 1, 1, 1]
    assert {rule.table for rule in plan("all", "eth4").rules} == {4}


def test_a_member_gets_host_routes_and_never_a_default_route():
    fixed = {"ip_address": "10.0.0.5", "subnet_cidr": "10.0.0.0/24", "gateway": "10.0.0.1"}
    fixed["host_routes"] = [{"destination": "198.51.100.0/24", "nexthop": "10.0.0.9"}]
    document = {"mac_address": "fa:16:3e:00:00:02", "mtu": 1450, "fixed_ips": [fixed]}
    config = member_interface("eth2", parse_network_request(document))
    assert config.addresses == (ip_interface("10.0.0.5/24"),)
    assert config.routes == (Route(ip_network("198.51.100.0/24"), "10.0.0.9", onlink=True),)
    assert (config.mtu, config.rules, config.automatic) == (1450, (), False)


SHARED = {
    "mac_address": "fa:16:3e:00:00:01",
    "fixed_ips": [
        {
            "ip_address": "10.0.0.5",
            "subnet_cidr": "10.0.0.0/24",
            "gateway": "10.0.0.1",
            "host_routes": [{"destination": "192.0.2.128/25", "nexthop": "10.0.0.9"}],
        },
        {"ip_address": "203.0.113.4", "subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1"},
    ],
}


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("paired", [False, True])
def test_a_member_network_on_the_vips_port_can_be_taken_away_again(name, paired):
    alone = held_elsewhere(plan(name)) if paired else plan(name)
    shared = with_member_network(alone, parse_network_request(SHARED))
    assert ip_interface("10.0.0.5/24") in shared.addresses
    assert set(alone.addresses) <= set(shared.addresses)
    assert set(alone.routes) <= set(shared.routes)
    assert (shared.rules, shared.floating) == (alone.rules, alone.floating)
    assert without_member_network(shared) == alone
    assert with_member_network(shared, parse_network_request(SHARED)) == shared
    held = [address.ip for address in (*shared.addresses, *shared.floating)]
    assert len(held) == len(set(held)), "the port's own address is told again"


@pytest.mark.parametrize(("paired", "tables"), [(False, {1, 254}), (True, {254})])
def test_a_member_networks_gateway_counts_where_the_vip_has_none(paired, tables):
    alone = held_elsewhere(plan("no-gateway")) if paired else plan("no-gateway")
    shared = with_member_network(alone, parse_network_request(SHARED))
    defaults = [route for route in shared.routes if route.destination == ANY]
    assert {(route.gateway, route.table) for route in defaults} == {("10.0.0.1", table) for table in tables}
    host = [route for route in shared.routes if route.gateway == "10.0.0.9"]
    assert [route.table for route in host] == [254]


def test_host_routes_can_be_left_out():
    config = without_host_routes(with_member_network(plan("routes"), parse_network_request(SHARED)))
    assert {route.gateway for route in config.routes} == {None, "203.0.113.1"}
    assert config.addresses
    assert without_host_routes(config) == config
