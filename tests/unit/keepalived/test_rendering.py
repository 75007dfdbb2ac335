# SPDX-License-Identifier: Apache-2.0
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.keepalived.configuration import parse
from amphora.keepalived.rendering import PairMember, password, render, virtual_router_id
from amphora.models import Role

SECRET = "b20e06cf1abcf29c708d3b437f4a29892a0921d0"
V4, V6 = ip_interface("203.0.113.2/24"), ip_interface("2001:db8::2/64")
GATEWAYS = (ip_address("203.0.113.1"), ip_address("2001:db8::1"))
MEMBERS = {
    "active-v4": PairMember("eth1", (V4,), Role.ACTIVE, SECRET, GATEWAYS[:1]),
    "standby-v6": PairMember("eth1", (V6,), Role.STANDBY, SECRET, GATEWAYS[1:]),
    "active-dual": PairMember("eth1", (V4, V6), Role.ACTIVE, SECRET, GATEWAYS),
    "bare-v4-fast": PairMember(
        "eth1", (ip_interface("203.0.113.2"),), Role.STANDBY, SECRET, advert_interval=0.1
    ),
}


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_golden(name):
    golden = Path(__file__).parent / "data" / f"{name}.conf"
    assert render(MEMBERS[name]).decode() == golden.read_text()


def test_both_nodes_agree_on_all_but_the_priority():
    active = render(PairMember("eth1", (V4,), Role.ACTIVE, SECRET)).decode().splitlines()
    standby = render(PairMember("eth1", (V4,), Role.STANDBY, SECRET)).decode().splitlines()
    differing = [pair for pair in zip(active, standby, strict=True) if pair[0] != pair[1]]
    assert differing == [("    priority 100", "    priority 90")]


@given(st.text(max_size=60))
def test_the_secret_is_told_nowhere(secret):
    member = PairMember("eth1", (V4,), Role.ACTIVE, f"s3cret:{secret}")
    assert f"s3cret:{secret}" not in repr(member)
    assert b"s3cret" not in render(member)


@given(st.text())
def test_a_password_is_eight_characters_that_need_no_quoting(secret):
    made = password(secret)
    assert len(made) == 8
    assert made.isalnum()
    assert made.isascii()
    assert made != password(secret + "x")


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_router_ids_are_valid_and_stable(address):
    assert 1 <= virtual_router_id(address) <= 255
    assert virtual_router_id(address) == virtual_router_id(ip_address(str(address)))


@given(st.lists(st.ip_addresses(), min_size=1, max_size=4, unique=True), st.sampled_from([0.1, 1, 2]))
def test_our_own_reader_understands_it(addresses, interval):
    interfaces = tuple(map(ip_interface, addresses))
    member = PairMember("eth1", interfaces, Role.STANDBY, SECRET, advert_interval=interval)
    (instance,) = parse(render(member)).instances
    assert {each.address.ip for each in instance.addresses} == set(addresses)
    assert instance.advert_interval == interval
    assert instance.version == addresses[0].version


@pytest.mark.parametrize(
    "member",
    [
        PairMember("eth1 {", (V4,), Role.ACTIVE, SECRET),
        PairMember("eth1", (), Role.ACTIVE, SECRET),
        PairMember("eth1", (V4,), Role.UNKNOWN, SECRET),
    ],
)
def test_what_cannot_be_rendered_is_refused(member):
    with pytest.raises(ValueError):
        render(member)
