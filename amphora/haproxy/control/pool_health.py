# SPDX-License-Identifier: Apache-2.0
"""Health of pools and members, read from a worker's statistics.

A member is UP or DOWN by the status of its server:

* ``UP`` and ``UP 1/3`` (a check has failed, it still gets traffic), ``no check``, ``DRAIN`` and
  ``NOLB`` (alive, finishing what it has) are UP;
* ``DOWN`` and ``DOWN 1/2`` (a check has passed, it gets no traffic yet), ``MAINT`` for any
  reason, a server the process does not know, and everything else are DOWN.

A pool is UP when all its members are, DOWN when none is, else DEGRADED. A pool without members has
nothing that could be down and is UP, which is what haproxy says of such a backend too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from amphora.haproxy.control.stats import StatRow
from amphora.haproxy.reading.configuration import Configuration
from amphora.models import Health

_ALIVE = frozenset({"UP", "DRAIN", "NOLB", "no check"})


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """One pool at one moment.

    :ivar members: (member id, UP or DOWN), in the order of the configuration.
    """

    id: str
    health: Health
    members: tuple[tuple[str, Health], ...]


def pool_health(rows: Iterable[StatRow], configuration: Configuration) -> tuple[PoolHealth, ...]:
    """Return the health of every pool of a configuration that a process runs.

    Several backends may stand for one pool, one for each listener that uses it; a member is then UP
    when any of them has it up, since each checks for itself and they rarely agree to the second.

    :param rows: the worker's statistics; without any, every member is DOWN.
    """
    alive = {(row.proxy, row.service) for row in rows if row.is_server and is_alive(row.status)}
    pools: dict[str, dict[str, Health]] = {}
    for backend in configuration.backends:
        members = pools.setdefault(configuration.pool_ids[backend.name], {})
        for server in backend.servers:
            member = configuration.member_ids[backend.name, server.name]
            up = (backend.name, server.name) in alive
            members[member] = Health.UP if up else members.get(member, Health.DOWN)
    return tuple(
        PoolHealth(pool, _summary(list(members.values())), tuple(members.items()))
        for pool, members in pools.items()
    )


def pool_health_when_stopped(configuration: Configuration) -> tuple[PoolHealth, ...]:
    """Return every pool and member of a configuration that no process runs: all are DOWN."""
    return tuple(
        PoolHealth(pool.id, Health.DOWN, tuple((member, Health.DOWN) for member, _ in pool.members))
        for pool in pool_health((), configuration)
    )


def is_alive(status: str) -> bool:
    """Whether a server with this status in the statistics counts as UP."""
    return status in _ALIVE or status.startswith("UP ")


def _summary(members: list[Health]) -> Health:
    if members and Health.UP not in members:
        return Health.DOWN
    return Health.DEGRADED if Health.DOWN in members else Health.UP
