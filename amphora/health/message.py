# SPDX-License-Identifier: Apache-2.0
"""The datagram: a JSON object of version 3, compressed by zlib (RFC 1950), and its HMAC-SHA-256.

The tag is over the compressed object and follows it as 64 lower-case hexadecimal digits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from amphora.health.readings import Counters, ListenerReading, PoolReading, ProcessReading

#: Of the message's form; from 3 on statistics are what is new since the last message.
VERSION = 3

#: Bytes of user data in the largest datagram over IPv4 (RFC 768, RFC 791).
LARGEST_DATAGRAM = 65507


@dataclass(frozen=True, slots=True)
class Report:
    """Content of one message.

    :ivar listeners: by id. Their counters are what is new.
    :ivar pools: by key.
    """

    listeners: Mapping[str, ListenerReading]
    pools: Mapping[str, PoolReading]

    def states(self) -> frozenset[tuple[str, ...]]:
        """Return what a controller makes states of, to find out whether any has changed.

        ``UP 1/3`` is ``UP``: a member may count its checks up and down for ever.
        """
        listeners = {("listener", each.id, each.status) for each in self.listeners.values()}
        pools = {("pool", each.key, each.status) for each in self.pools.values()}
        members = {
            ("member", pool.key, member, status.partition(" ")[0])
            for pool in self.pools.values()
            for member, status in pool.members.items()
        }
        return frozenset(listeners | pools | members)


def make_report(processes: Iterable[ProcessReading], unsent: Callable[[str], Counters]) -> Report:
    """Merge the readings of processes.

    A worker that was replaced has no listener any more, but may still have some of its connections.

    :param unsent: returns what is new of a listener.
    """
    processes = tuple(processes)
    active: dict[str, int] = {}
    for process in processes:
        for listener in process.listeners:
            active[listener.id] = active.get(listener.id, 0) + listener.active
    current = [process for process in processes if not process.replaced]
    return Report(
        {
            listener.id: replace(listener, active=active[listener.id], counters=unsent(listener.id))
            for process in current
            for listener in process.listeners
        },
        {pool.key: pool for process in current for pool in process.pools},
    )


def encode(amphora_id: str, sequence: int, report: Report, key: str) -> bytes:
    """Return the datagram.

    :param key: shared with the controllers.
    """
    message = {
        "id": amphora_id,
        "seq": sequence,
        "ver": VERSION,
        "listeners": {listener.id: _listener(listener) for listener in report.listeners.values()},
        "pools": {
            pool.key: {"status": pool.status, "members": dict(pool.members)} for pool in report.pools.values()
        },
    }
    payload = zlib.compress(json.dumps(message, separators=(",", ":")).encode())
    return payload + hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode()


def encode_within(
    limit: int, amphora_id: str, sequence: int, report: Report, key: str
) -> tuple[bytes | None, str]:
    """Return a datagram within a limit, and a phrase for what was left out; empty if nothing was.

    First goes what receivers ignore: a pool's second and further listeners. Then members, of the largest
    pools first; controllers show those as offline. The health of the amphora, of its listeners and pools
    and all statistics still arrive; without them it would be replaced by another of the same size. None
    when even that is too large.
    """

    def attempt(candidate: Report) -> bytes | None:
        datagram = encode(amphora_id, sequence, candidate, key)
        return datagram if len(datagram) <= limit else None

    if datagram := attempt(report):
        return datagram, ""
    once = replace(report, pools=_each_pool_once(report.pools))
    if datagram := attempt(once):
        return datagram, "repeated pools"
    sizes = sorted({len(pool.members) for pool in once.pools.values()})
    # Each try costs milliseconds, so the number of tries must not grow with the number of pools.
    low, high, best = 0, len(sizes), None
    while low < high:
        middle = (low + high) // 2
        largest = sizes[middle - 1] if middle else 0
        if datagram := attempt(replace(once, pools=_smaller_pools(once.pools, largest))):
            best, low = datagram, middle + 1
        else:
            high = middle
    return best, "the members of the largest pools" if best else "everything"


def _each_pool_once(pools: Mapping[str, PoolReading]) -> dict[str, PoolReading]:
    first: dict[str, PoolReading] = {}
    for key, pool in pools.items():
        first.setdefault(key.rpartition(":")[0] or key, pool)
    return {pool.key: pool for pool in first.values()}


def _smaller_pools(pools: Mapping[str, PoolReading], most: int) -> dict[str, PoolReading]:
    return {
        key: pool if len(pool.members) <= most else replace(pool, members={}) for key, pool in pools.items()
    }


def _listener(listener: ListenerReading) -> dict[str, object]:
    counters = listener.counters
    return {
        "status": listener.status,
        "stats": {
            "rx": counters.received,
            "tx": counters.sent,
            "conns": listener.active,
            "totconns": counters.connections,
            "ereq": counters.errors,
        },
    }
