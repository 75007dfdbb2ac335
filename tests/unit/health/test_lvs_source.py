# SPDX-License-Identifier: Apache-2.0
"""What the kernel knows of an LVS listener, in the words of the heartbeat."""

from ipaddress import ip_address

import pytest

from amphora.health.lvs_source import listener, pools
from amphora.health.readings import Counters, PoolReading
from amphora.lvs.configuration import LvsConfiguration, LvsMember, LvsPool
from amphora.lvs.ipvs_counters import IpvsCounters
from amphora.lvs.ipvs_table import Endpoint, IpvsServer, IpvsService, VirtualService


def endpoint(host, port=53):
    return Endpoint(ip_address(host), port)


V4, ALSO_V4, V6, ANOTHERS = (
    VirtualService("UDP", endpoint(host))
    for host in ("203.0.113.2", "203.0.113.9", "2001:db8::4", "203.0.113.77")
)
ONE, TWO, SIX = endpoint("10.0.0.1"), endpoint("10.0.0.2"), endpoint("2001:db8::99")


def configuration(*members, monitored=True):
    pool = LvsPool("pool", monitored, members)
    return LvsConfiguration("listener", True, (V4, ALSO_V4, V6), pool)


def pool(table, *members, monitored=True, is_restarting=False):
    read = configuration(*members, monitored=monitored)
    return pools(read, table, is_restarting=is_restarting)[0]


def test_statistics_count_every_address_of_both_families():
    table = (
        IpvsService(V4, [IpvsServer(ONE, 1, 1), IpvsServer(TWO, 1, 2)]),
        IpvsService(ALSO_V4, [IpvsServer(ONE, 1, 4)]),
        IpvsService(V6, [IpvsServer(SIX, 1, 8)]),
        IpvsService(ANOTHERS, [IpvsServer(ONE, 1, 1000)]),
    )
    counters = {
        V4: IpvsCounters(1, 10, 100),
        ALSO_V4: IpvsCounters(2, 20, 200),
        V6: IpvsCounters(4, 40, 400),
        ANOTHERS: IpvsCounters(1000, 1000, 1000),
    }
    reading = listener("id", configuration(), table, counters)
    assert (reading.id, reading.status, reading.active) == ("id", "OPEN", 15)
    assert reading.counters == Counters(received=70, sent=700, connections=7, errors=0)


def test_a_listener_without_a_pool_or_members_is_open_with_zeros():
    empty = LvsConfiguration("listener", True, (), None)
    assert listener("id", empty, (), {}).counters == Counters()
    assert pools(empty, (), is_restarting=False) == ()
    assert pool(()) == PoolReading("pool", "UP", {})


@pytest.mark.parametrize("monitored", [True, False])
def test_members_of_either_family_that_the_kernel_has(monitored):
    table = (
        IpvsService(V4, [IpvsServer(ONE, 3, 0), IpvsServer(TWO, 0, 5)]),
        IpvsService(V6, [IpvsServer(SIX, 1, 0)]),
    )
    members = (LvsMember("a", ONE), LvsMember("b", TWO, 0), LvsMember("c", SIX), LvsMember("off", None))
    well = "UP" if monitored else "no check"
    assert pool(table, *members, monitored=monitored) == PoolReading(
        "pool", "UP", {"a": well, "b": "DRAIN", "c": well, "off": "MAINT"}
    )


@pytest.mark.parametrize(("is_restarting", "state"), [(False, "DOWN"), (True, "RESTARTING")])
def test_a_missing_member_is_down_unless_the_kernel_is_being_told(is_restarting, state):
    table = (IpvsService(V4, [IpvsServer(ONE, 1, 0)]),)
    members = (LvsMember("a", ONE), LvsMember("b", TWO))
    partly = pool(table, *members, is_restarting=is_restarting)
    assert partly == PoolReading("pool", "UP", {"a": "UP", "b": state})
    none = pool((IpvsService(V4),), *members, is_restarting=is_restarting)
    assert none == PoolReading("pool", "DOWN", {"a": state, "b": state})


def test_without_a_monitor_nothing_is_ever_down():
    assert pool((), LvsMember("a", ONE), monitored=False) == PoolReading("pool", "UP", {"a": "no check"})


def test_a_pool_whose_members_are_all_switched_off_is_up():
    assert pool((), LvsMember("a", None)) == PoolReading("pool", "UP", {"a": "MAINT"})


def test_a_server_of_another_listener_at_the_same_address_does_not_count():
    table = (IpvsService(ANOTHERS, [IpvsServer(ONE, 1, 0)]),)
    assert pool(table, LvsMember("a", ONE)).members == {"a": "DOWN"}
