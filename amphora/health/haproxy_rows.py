# SPDX-License-Identifier: Apache-2.0
"""Turns a worker's statistics into listeners and pools, in the words of the heartbeat."""

from __future__ import annotations

from collections.abc import Iterable

from amphora.haproxy.control.stats import RowKind, StatRow
from amphora.health.readings import Counters, ListenerReading, PoolReading

#: Part of the names that controllers give to the endpoint behind a metrics listener; it is no listener.
_INTERNAL = "prometheus"


def listeners(rows: Iterable[StatRow]) -> tuple[ListenerReading, ...]:
    """Return every frontend but internal ones."""
    return tuple(
        ListenerReading(
            row.proxy,
            row.status,
            row.number("scur"),
            Counters(row.number("bin"), row.number("bout"), row.number("stot"), row.number("ereq")),
        )
        for row in rows
        if row.is_frontend and _INTERNAL not in row.proxy
    )


def pools(rows: Iterable[StatRow]) -> tuple[PoolReading, ...]:
    """Return every backend but internal ones, with its servers."""
    statuses: dict[str, str] = {}
    members: dict[str, dict[str, str]] = {}
    for row in rows:
        if _INTERNAL in row.proxy:
            continue
        if row.kind is RowKind.BACKEND:
            statuses[row.proxy] = row.status
        elif row.is_server:
            members.setdefault(row.proxy, {})[row.service] = _member_state(row)
    return tuple(PoolReading(name, status, members.get(name, {})) for name, status in statuses.items())


def _member_state(row: StatRow) -> str:
    # haproxy calls a server UP that gets no new clients because of its weight.
    if row.status == "UP" and row.number("weight") == 0:
        return "DRAIN"
    # "MAINT (via other/server)": receivers know the word alone.
    return row.status.partition(" (")[0]
