# SPDX-License-Identifier: Apache-2.0
"""LVS configurations, whose comments tell which object each part is made from."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.lvs.configuration import LvsConfiguration, LvsMember, LvsPool, parse
from amphora.lvs.ipvs_table import Endpoint, VirtualService

LINES = st.sampled_from(
    [
        "# Configuration for Listener l",
        "# Configuration for Pool p",
        "# Configuration for Member m",
        "# Configuration for HealthMonitor h",
        "# Member m is disabled",
        "# Pool p is disabled",
        "virtual_server group g {",
        "virtual_server_group g {",
        "virtual_server 10.0.0.1 53 {",
        "real_server 10.0.0.2 53 {",
        "10.0.0.9 99999",
        "weight 4294967296",
        "protocol",
        "real_server {",
        "}",
    ]
)


def endpoint(host, port):
    return Endpoint(ip_address(host), port)


def udp(host, port):
    return VirtualService("UDP", endpoint(host, port))


def member(number):
    return f"ae000000-0000-4000-8000-{number:012}"


def test_both_ip_versions_every_checker_and_a_member_switched_off(golden):
    assert parse(golden("dual-udp.conf")) == LvsConfiguration(
        "11000000-0000-4000-8000-000000000002",
        True,
        (udp("203.0.113.2", 53), udp("203.0.113.9", 53), udp("2001:db8::4", 53)),
        LvsPool(
            "90000000-0000-4000-8000-000000000002",
            True,
            (
                LvsMember(member(1), endpoint("10.0.0.1", 53), 3),
                LvsMember(member(2), None),
                LvsMember(member(3), endpoint("10.0.0.3", 5353), 0),
                LvsMember(member(4), endpoint("2001:db8::99", 53), 1),
            ),
        ),
    )


def test_sctp(golden):
    configuration = parse(golden("sctp.conf"))
    assert configuration.services == (VirtualService("SCTP", endpoint("203.0.113.2", 2905)),)
    assert configuration.pool.monitored
    assert [each.id for each in configuration.pool.enabled_members] == [member(51)]


def test_an_address_without_a_group_and_a_pool_without_a_monitor(golden):
    configuration = parse(golden("unmonitored.conf"))
    assert configuration.services == (udp("203.0.113.2", 123),)
    assert configuration.pool == LvsPool(
        "90000000-0000-4000-8000-000000000006",
        False,
        (LvsMember(member(61), endpoint("10.0.0.61", 123)),),
    )


@pytest.mark.parametrize(
    ("name", "enabled", "services"),
    [("without-pool.conf", True, 0), ("pool-off.conf", True, 1), ("listener-off.conf", False, 0)],
)
def test_there_need_not_be_a_pool_nor_a_listener_that_is_on(golden, name, enabled, services):
    configuration = parse(golden(name))
    assert (configuration.enabled, len(configuration.services)) == (enabled, services)
    assert configuration.pool is None


@pytest.mark.parametrize(("name", "members"), [("without-members.conf", 0), ("members-off.conf", 2)])
def test_a_pool_need_not_have_members_that_are_on(golden, name, members):
    pool = parse(golden(name)).pool
    assert (pool.monitored, len(pool.members), pool.enabled_members) == (True, members, ())


def test_virtual_addresses_are_told_once(golden):
    expected = {"203.0.113.2", "203.0.113.9", "2001:db8::4"}
    assert {str(each) for each in parse(golden("dual-udp.conf")).addresses} == expected


def test_a_server_that_no_comment_names_is_no_member(golden):
    data = golden("unmonitored.conf").replace(b"# Configuration for Member", b"# A server of")
    assert parse(data).pool.members == ()


def test_a_comment_names_one_server_only():
    data = b"""
    virtual_server 10.0.0.1 53 {
        # Configuration for Pool p
        # Configuration for Member m
        real_server 10.0.0.2 53 {
        }
        real_server 10.0.0.3 53 {
        }
    }"""
    assert [each.endpoint for each in parse(data).pool.members] == [endpoint("10.0.0.2", 53)]


def test_what_looks_like_data_in_another_place_is_none():
    data = b"virtual_server 10.0.0.1 53 {\n  notify_up x # Configuration for Pool p\n}\n"
    assert parse(data).pool is None


@given(st.binary(max_size=400))
def test_odd_bytes_never_raise(data):
    assert isinstance(parse(data), LvsConfiguration)


@given(st.lists(LINES, max_size=30))
def test_odd_order_never_raises_and_yields_what_can_be_used(lines):
    configuration = parse("\n".join(lines).encode())
    for service in configuration.services:
        assert 0 <= service.endpoint.port <= 65535
    if configuration.pool:
        ids = [each.id for each in configuration.pool.members]
        assert len(ids) == len(set(ids))
        assert all(0 <= each.weight <= 65535 for each in configuration.pool.members)


@given(
    st.dictionaries(
        st.uuids().map(str),
        st.tuples(st.ip_addresses(v=4), st.integers(0, 65535), st.one_of(st.none(), st.integers(0, 256))),
        max_size=8,
    )
)
def test_every_member_is_found_under_its_own_id(members):
    blocks = [
        f"# Member {name} is disabled"
        if weight is None
        else f"# Configuration for Member {name}\nreal_server {host} {port} {{\n weight {weight}\n}}"
        for name, (host, port, weight) in members.items()
    ]
    data = "virtual_server 10.0.0.1 53 {\n# Configuration for Pool p\n" + "\n".join(blocks) + "\n}\n"
    assert parse(data.encode()).pool.members == tuple(
        LvsMember(name, None) if weight is None else LvsMember(name, Endpoint(host, port), weight)
        for name, (host, port, weight) in members.items()
    )


def test_deep_nesting_is_read_without_recursion():
    assert parse(b"a {\n" * 5000).services == ()
