# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.haproxy.control.pool_health import PoolHealth, is_alive, pool_health, pool_health_when_stopped
from amphora.haproxy.control.stats import RowKind, StatRow
from amphora.haproxy.reading.configuration import parse
from amphora.models import Health

UP, DOWN, DEGRADED = Health.UP, Health.DOWN, Health.DEGRADED
TWO_MEMBERS = parse(b"backend pool\n server a x:1\n server b x:2\n")


def rows(**statuses):
    return [StatRow("pool", name, RowKind.SERVER, status, {}) for name, status in statuses.items()]


@pytest.mark.parametrize(
    ("status", "alive"),
    [
        ("UP", True),
        ("UP 1/3", True),
        ("no check", True),
        ("DRAIN", True),
        ("NOLB", True),
        ("DOWN", False),
        ("DOWN 1/2", False),
        ("DOWN (agent)", False),
        ("MAINT", False),
        ("MAINT (via b/s)", False),
        ("MAINT (resolution)", False),
        ("", False),
        ("UPSIDE", False),
    ],
)
def test_status_words(status, alive):
    assert is_alive(status) is alive


@pytest.mark.parametrize(
    ("statuses", "health", "members"),
    [
        ({"a": "UP", "b": "no check"}, UP, (UP, UP)),
        ({"a": "UP", "b": "DOWN"}, DEGRADED, (UP, DOWN)),
        ({"a": "DOWN", "b": "MAINT"}, DOWN, (DOWN, DOWN)),
        ({"a": "UP"}, DEGRADED, (UP, DOWN)),
        ({}, DOWN, (DOWN, DOWN)),
    ],
)
def test_a_pool_sums_up_its_members(statuses, health, members):
    expected = PoolHealth("pool", health, tuple(zip("ab", members, strict=True)))
    assert pool_health(rows(**statuses), TWO_MEMBERS) == (expected,)


def test_the_row_of_the_backend_itself_is_no_member():
    configuration = parse(b"backend pool\n server BACKEND x:1\n")
    backend = StatRow("pool", "BACKEND", RowKind.BACKEND, "UP", {})
    assert pool_health([backend], configuration)[0].health is DOWN


def test_a_pool_without_members_is_up():
    assert pool_health([], parse(b"backend pool\n")) == (PoolHealth("pool", UP, ()),)


def test_backends_of_one_pool_are_one_pool():
    configuration = parse(
        b"backend p:1\n server a x:1\n server b x:1\nbackend p:2\n server a x:1\n server b x:1\n"
    )
    seen = [StatRow("p:2", "a", RowKind.SERVER, "UP", {}), StatRow("p:1", "b", RowKind.SERVER, "DOWN", {})]
    assert pool_health(seen, configuration) == (PoolHealth("p", DEGRADED, (("a", UP), ("b", DOWN))),)


def test_stopped_means_all_down(data_dir):
    pools = pool_health_when_stopped(parse((data_dir / "single_listener.cfg").read_bytes()))
    assert [(pool.id, pool.health) for pool in pools] == [("90000000-0000-4000-8000-00000000000a", DOWN)]
    assert [health for _, health in pools[0].members] == [DOWN] * 3
    assert pool_health_when_stopped(parse(b"backend pool\n"))[0].health is DOWN
