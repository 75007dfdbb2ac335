# SPDX-License-Identifier: Apache-2.0
"""Octavia's receiver of heartbeats takes ours, and counts what clients sent and got."""

import time

import pytest

from amphora.testing.agent_client import AMPHORA_ID
from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, identity, listener, pool

ECHO, WEB = identity(1, 1), identity(1, 2)
ECHO_POOL, WEB_POOL = identity(9, 1), identity(9, 2)
MONITOR = {
    "id": identity(4, 1),
    "type": "TCP",
    "delay": 1,
    "timeout": 1,
    "fall_threshold": 1,
    "rise_threshold": 1,
}
WEIGHTS = {"UP": 1, "DRAIN": 0}


@pytest.fixture(scope="module")
def serving(newest, members):
    members.echo(rig.MEMBERS[0], 7007)
    members.http("a", rig.MEMBERS[0], 8080)
    pools = [
        pool(1, (rig.MEMBERS[0], 7007), protocol="TCP"),
        pool(2, (rig.MEMBERS[0], 8080), (rig.MEMBERS[1], 9), health_monitor=MONITOR),
    ]
    document = balancer([listener(1, 90, 1, "TCP"), listener(2, 80, 2)], pools)
    assert newest.update(balancer=document) == {"failed": []}
    newest.receive()
    return newest


def database(status="OFFLINE"):
    """What a controller's database has of the load balancer, in the form of the query for heartbeats."""
    member = {"operating_status": status}
    return {
        "amphora_id": AMPHORA_ID,
        "id": LOAD_BALANCER,
        "enabled": True,
        "provisioning_status": "ACTIVE",
        "operating_status": status,
        "listeners": {
            each: {"operating_status": status, "protocol": "TCP", "enabled": True} for each in (ECHO, WEB)
        },
        "pools": {
            ECHO_POOL: {"operating_status": status, "members": {identity(5, 10): member}},
            WEB_POOL: {
                "operating_status": status,
                "members": {identity(5, 20): member, identity(5, 21): member},
            },
        },
    }


def heartbeats(controller, seconds=30.0):
    """Take heartbeats until time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield controller.heartbeat(load_balancer=database(), seconds=20)


def totals(controller, wanted, seconds=30.0):
    """Add up what the receiver counts for the echo listener until there are so many connections."""
    sums = {"bytes_in": 0, "bytes_out": 0, "total_connections": 0, "request_errors": 0}
    for taken in heartbeats(controller, seconds):
        for each in taken["statistics"]:
            assert each["deltas"]
            if each["listener_id"] == ECHO:
                sums = {name: value + each[name] for name, value in sums.items()}
        if sums["total_connections"] >= wanted and not sums["bytes_in"] % 1000:
            break
    return sums


def test_every_status_is_what_the_receiver_understands(serving):
    for taken in heartbeats(serving):
        if taken["statuses"].get("pool", {}).get(WEB_POOL) == "DEGRADED":
            break
    assert taken["message"]["ver"] == 3
    assert taken["refreshed"] == 1, "as many listeners report as are enabled"
    assert taken["statuses"] == {
        "listener": {ECHO: "ONLINE", WEB: "ONLINE"},
        "pool": {ECHO_POOL: "ONLINE", WEB_POOL: "DEGRADED"},
        "member": {identity(5, 10): "NO_MONITOR", identity(5, 20): "ONLINE", identity(5, 21): "ERROR"},
        "loadbalancer": {LOAD_BALANCER: "DEGRADED"},
    }


def test_bytes_and_connections_are_those_of_the_client(serving, visitor):
    totals(serving, 0, 2)
    for size in (1000, 5000, 200_000):
        visitor.exchange(90, bytes(size))
    assert totals(serving, 3) == {
        "bytes_in": 206_000,
        "bytes_out": 206_000,
        "total_connections": 3,
        "request_errors": 0,
    }


def test_a_reload_and_an_agents_restart_lose_no_byte(serving, visitor, plugged):
    totals(serving, 0, 2)
    visitor.exchange(90, bytes(3000))
    plugged.agent.stop()
    visitor.exchange(90, bytes(4000))
    plugged.agent.start()
    sums = totals(serving, 2)
    assert (sums["bytes_in"], sums["bytes_out"], sums["total_connections"]) == (7000, 7000, 2)


def test_another_key_is_used_at_once(serving, plugged):
    key = "another-key-of-letters"
    text = serving.agent_configuration(
        topology="SINGLE", changes={"heartbeat_key": key, "heartbeat_interval": 2}
    )
    whole = text + plugged.own_sections()
    serving.put_agent_configuration(text=whole)
    assert plugged.agent.config_path.read_text() == whole
    serving.receive()
    taken = next(heartbeats(serving))
    assert taken["message"]["id"] == AMPHORA_ID
