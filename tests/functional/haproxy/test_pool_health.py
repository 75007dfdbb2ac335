# SPDX-License-Identifier: Apache-2.0
"""Health of pools and members as a real haproxy sees them."""

import time

import pytest

from amphora.haproxy.control.pool_health import pool_health
from amphora.haproxy.proof.prove import prove
from amphora.models import Health

UP, DOWN, DEGRADED = Health.UP, Health.DOWN, Health.DEGRADED


@pytest.fixture
def balanced(haproxy, serving, free_port, member):
    """A haproxy with one pool: a live and a dead member, both checked, and one not checked."""
    text = serving(f"127.0.0.1:{free_port()}") + (
        "# amphora pool web 90000000-0000-4000-8000-000000000001\n"
        "backend web\n"
        f" server live 127.0.0.1:{member} check inter 50 fall 1 rise 1\n"
        f" server dead 127.0.0.1:{free_port()} check inter 50 fall 1 rise 1\n"
        f" server unchecked 127.0.0.1:{free_port()}\n"
    )
    haproxy.write(text)
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 10)
    return haproxy


def health(haproxy):
    (pool,) = pool_health(haproxy.stats.statistics(), haproxy.configuration)
    return pool.health, dict(pool.members)


def test_a_dead_member_degrades_its_pool(balanced, eventually):
    expected = DEGRADED, {"live": UP, "dead": DOWN, "unchecked": UP}
    assert eventually(lambda: health(balanced) == expected)
    (pool,) = pool_health(balanced.stats.statistics(), balanced.configuration)
    assert pool.id == "90000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize(("state", "expected"), [("drain", UP), ("maint", DOWN), ("ready", UP)])
def test_what_an_operator_does_to_a_member(balanced, eventually, state, expected):
    balanced.command(f"set server web/live state {state}")
    assert eventually(lambda: health(balanced)[1]["live"] is expected)
    word = {"drain": "DRAIN", "maint": "MAINT", "ready": "UP"}[state]
    statuses = {row.service: row.status for row in balanced.stats.statistics() if row.is_server}
    assert (statuses["live"], statuses["unchecked"]) == (word, "no check")


def test_a_pool_is_down_without_a_live_member(balanced, eventually):
    for name in ("live", "unchecked"):
        balanced.command(f"set server web/{name} state maint")
    assert eventually(lambda: health(balanced)[0] is DOWN)


def test_statistics_and_information(balanced):
    rows = balanced.stats.statistics()
    (frontend,) = [row for row in rows if row.is_frontend]
    assert (frontend.proxy, frontend.status, frontend.number("stot")) == ("f1", "OPEN", 0)
    assert balanced.stats.info()["Version"].startswith(f"{balanced.program.refresh().numbers[0]}.")
