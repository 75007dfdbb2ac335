# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.haproxy.control.stats import parse_statistics
from amphora.health.haproxy_source import listeners, pools
from amphora.health.readings import Counters, ListenerReading, PoolReading
from tests.support.heartbeats import HEADER, backend, frontend

LISTENER, POOL = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def rows(*parts):
    return parse_statistics(f"{HEADER}\n{''.join(parts)}\n")


def test_frontends_are_listeners():
    found = listeners(rows(frontend(LISTENER, 3, 309, 3837, 2, 7, "FULL"), backend(POOL, {})))
    assert found == (ListenerReading(LISTENER, "FULL", 2, Counters(309, 3837, 3, 7)),)


def test_the_endpoint_behind_a_metrics_listener_is_none_but_its_own_frontend_is():
    found = rows(
        frontend(LISTENER),
        frontend("prometheus-exporter-internal-endpoint"),
        backend("prometheus", {"s": "UP"}),
    )
    assert [each.id for each in listeners(found)] == [LISTENER]
    assert pools(found) == ()


def test_a_backend_without_members_is_a_pool():
    key = f"{POOL}:{LISTENER}"
    assert pools(rows(backend(key, {}))) == (PoolReading(key, "UP", {}),)


@pytest.mark.parametrize(
    ("status", "weight", "told"),
    [
        ("UP", 1, "UP"),
        ("UP 1/2", 1, "UP 1/2"),
        ("DOWN 1/2", 1, "DOWN 1/2"),
        ("UP", 0, "DRAIN"),
        ("DOWN", 0, "DOWN"),
        ("no check", 0, "no check"),
        ("DRAIN", 1, "DRAIN"),
        ("MAINT", 1, "MAINT"),
        ("MAINT (via other/server)", 1, "MAINT"),
        ("DOWN (agent)", 1, "DOWN"),
    ],
)
def test_states_of_members(status, weight, told):
    (pool,) = pools(rows(backend(POOL, {"m": (status, weight)}, "DOWN")))
    assert (pool.status, pool.members) == ("DOWN", {"m": told})
