# SPDX-License-Identifier: Apache-2.0
"""Turns what the kernel knows of an LVS listener into the words of the heartbeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from amphora.health.readings import Counters, ListenerReading, PoolReading
from amphora.lvs.configuration import LvsConfiguration, LvsMember
from amphora.lvs.ipvs_counters import IpvsCounters
from amphora.lvs.ipvs_table import IpvsService
from amphora.lvs.services import Endpoint, VirtualService


def listener(
    listener_id: str,
    configuration: LvsConfiguration,
    table: Iterable[IpvsService],
    counters: Mapping[VirtualService, IpvsCounters],
) -> ListenerReading:
    """Return a listener that runs; all its addresses count, of both IP versions."""
    own = set(configuration.services)
    total = sum((counters.get(service, IpvsCounters()) for service in own), IpvsCounters())
    active = sum(server.active for each in table if each.service in own for server in each.servers)
    return ListenerReading(
        listener_id, "OPEN", active, Counters(total.received, total.sent, total.connections)
    )


def pools(
    configuration: LvsConfiguration, table: Iterable[IpvsService], *, is_restarting: bool
) -> tuple[PoolReading, ...]:
    """Return the pool of a listener, if it has one.

    :param is_restarting: a member that is missing in the kernel may be there soon, or may not have to be.
    """
    pool = configuration.pool
    if pool is None:
        return ()
    weights = _weights(configuration, table)
    members = {
        member.id: _state(member, weights, monitored=pool.monitored, is_restarting=is_restarting)
        for member in pool.members
    }
    has_any = any(member.endpoint in weights for member in pool.enabled_members)
    is_up = has_any or not pool.monitored or not pool.enabled_members
    return (PoolReading(pool.id, "UP" if is_up else "DOWN", members),)


def _weights(configuration: LvsConfiguration, table: Iterable[IpvsService]) -> dict[Endpoint, int]:
    """Return the highest weight of each server: it is listed once for each virtual address."""
    own = set(configuration.services)
    weights: dict[Endpoint, int] = {}
    for each in table:
        for server in each.servers if each.service in own else ():
            weights[server.endpoint] = max(weights.get(server.endpoint, 0), server.weight)
    return weights


def _state(
    member: LvsMember, weights: Mapping[Endpoint, int], *, monitored: bool, is_restarting: bool
) -> str:
    if member.endpoint is None:
        return "MAINT"
    if weights.get(member.endpoint) == 0:
        return "DRAIN"
    if not monitored:
        return "no check"
    if member.endpoint in weights:
        return "UP"
    return "RESTARTING" if is_restarting else "DOWN"
