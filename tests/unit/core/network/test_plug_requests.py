# SPDX-License-Identifier: Apache-2.0
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.network.plug_requests import (
    FixedIp,
    HostRoute,
    VipAddress,
    VipRequest,
    parse_mac_address,
    parse_network_request,
    parse_vip,
    parse_vip_request,
)
from amphora.errors import InvalidFixedIp, InvalidInput, InvalidSubnet, InvalidVip

MAC = "fa:16:3e:00:00:01"
PORT = {"subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "mac_address": MAC}
ROUTE = {"destination": "198.51.100.0/24", "nexthop": "203.0.113.5"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.dictionaries(
    st.sampled_from(
        [*PORT, "mtu", "vrrp_ip", "host_routes", "additional_vips", "fixed_ips", "destination", "nexthop"]
    ),
    JSON | st.sampled_from(list(PORT.values())) | st.lists(st.just(ROUTE)),
)


def test_the_three_fields_of_the_document_are_enough():
    assert parse_vip_request("203.0.113.2", PORT) == VipRequest(
        MAC,
        (VipAddress(ip_address("203.0.113.2"), ip_network("203.0.113.0/24"), ip_address("203.0.113.1")),),
    )


def test_all_that_octavia_sends_is_read():
    extra = {
        "ip_address": "2001:DB8:0::4",
        "subnet_cidr": "2001:db8::/64",
        "gateway": None,
        "host_routes": [],
    }
    sent = {
        "mtu": 1450,
        "vrrp_ip": "203.0.113.4",
        "host_routes": [ROUTE],
        "additional_vips": [extra],
        "is_sriov": False,
    }
    request = parse_vip_request("203.0.113.2", PORT | sent)
    assert request.mtu == 1450
    assert request.own_address == ip_address("203.0.113.4")
    assert request.vips[0].host_routes == (
        HostRoute(ip_network("198.51.100.0/24"), ip_address("203.0.113.5")),
    )
    assert request.vips[1] == VipAddress(ip_address("2001:db8::4"), ip_network("2001:db8::/64"), None)


@pytest.mark.parametrize(
    "vip", ["", "x", "203.0.113.2.1", "203.0.113.0/24", "::", "224.0.0.1", "fe80::1%eth0", "127.0.0.1"]
)
def test_what_is_no_vip_is_refused(vip):
    with pytest.raises(InvalidVip):
        parse_vip(vip)
    bad = {"ip_address": vip, "subnet_cidr": "203.0.113.0/24", "gateway": None}
    with pytest.raises((InvalidVip, InvalidSubnet)):
        parse_vip_request("203.0.113.2", PORT | {"additional_vips": [bad]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subnet_cidr", None),
        ("subnet_cidr", "203.0.113.2/24"),
        ("subnet_cidr", "198.51.100.0/24"),
        ("subnet_cidr", 24),
        ("gateway", "2001:db8::1"),
        ("gateway", "x"),
        ("gateway", 1),
        ("mac_address", None),
        ("mac_address", "fa:16:3e:00:00"),
        ("mac_address", "ff:ff:ff:ff:ff:ff"),
        ("mac_address", "00:00:00:00:00:00"),
        ("mac_address", 5),
        ("mtu", "1450"),
        ("mtu", True),
        ("mtu", 10),
        ("vrrp_ip", "x"),
        ("host_routes", {}),
        ("host_routes", [[]]),
        ("host_routes", [ROUTE | {"nexthop": "2001:db8::1"}]),
        ("additional_vips", ["x"]),
    ],
)
def test_a_bad_field_is_named(field, value):
    with pytest.raises(InvalidSubnet) as raised:
        parse_vip_request("203.0.113.2", PORT | {field: value})
    names = {"host_routes": ("host_routes", "nexthop", "destination")}.get(field, (field,))
    assert any(name in raised.value.details for name in names)


def test_no_gateway_is_said_by_null_and_not_by_leaving_it_out():
    assert parse_vip_request("203.0.113.2", PORT | {"gateway": None}).vips[0].gateway is None
    with pytest.raises(InvalidSubnet, match="gateway is missing"):
        parse_vip_request("203.0.113.2", {key: PORT[key] for key in ("subnet_cidr", "mac_address")})


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_a_body_that_is_no_object_is_refused(document):
    with pytest.raises(InvalidSubnet):
        parse_vip_request("203.0.113.2", document)
    with pytest.raises(InvalidInput):
        parse_network_request(document)


def test_a_member_port_needs_its_mac_address_only():
    assert parse_network_request({"mac_address": MAC}).fixed_ips == ()
    fixed = {"ip_address": "10.0.0.5", "subnet_cidr": "10.0.0.0/24", "gateway": None, "host_routes": []}
    request = parse_network_request({"mac_address": MAC, "mtu": 1400, "fixed_ips": [fixed]})
    assert (request.mtu, request.fixed_ips) == (1400, (FixedIp(ip_interface("10.0.0.5/24")),))


@pytest.mark.parametrize("change", [{"ip_address": "10.0.1.5"}, {"ip_address": None}, {"subnet_cidr": "x"}])
def test_a_bad_fixed_ip_is_bad_input_and_no_matter_of_a_vip(change):
    fixed = {"ip_address": "10.0.0.5", "subnet_cidr": "10.0.0.0/24"} | change
    with pytest.raises(InvalidFixedIp):
        parse_network_request({"mac_address": MAC, "fixed_ips": [fixed]})


@given(st.binary(min_size=6, max_size=6), st.booleans())
def test_mac_addresses_are_lower_case_inside(raw, upper):
    text = raw.hex(":")
    usable = not raw[0] & 1 and any(raw)
    if usable:
        assert parse_mac_address(text.upper() if upper else text) == text
    else:
        with pytest.raises(InvalidSubnet):
            parse_mac_address(text)


@given(st.text(max_size=20) | st.sampled_from(["203.0.113.2", "2001:db8::2"]), JSON | FIELDS)
def test_whatever_is_sent_is_read_or_refused(vip, document):
    try:
        request = parse_vip_request(vip, document)
    except (InvalidVip, InvalidSubnet) as error:
        assert error.details  # noqa: PT017
    else:
        assert request.vips[0].address in request.vips[0].subnet
    try:
        parse_network_request(document)
    except InvalidInput as error:
        assert not isinstance(error, InvalidSubnet)  # noqa: PT017
