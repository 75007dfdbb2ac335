# SPDX-License-Identifier: Apache-2.0
"""A bounded set of connections that never refuses a new one."""

from __future__ import annotations

from typing import Generic, TypeVar

_Member = TypeVar("_Member")


class Quota(Generic[_Member]):
    """Members grouped by source address, bounded in total and per source.

    At a bound the *oldest* member of the source with most members is evicted: a flood then evicts its own
    connections, while a controller, which needs milliseconds, is never refused. Sources are single addresses,
    not prefixes: hosts of a management network share a prefix, and port security keeps each to its own.

    Not thread-safe.

    :param limit: members in total, at least 1.
    :param limit_per_source: members of one source, at least 1.
    """

    def __init__(self, limit: int, limit_per_source: int) -> None:
        self._limit = limit
        self._limit_per_source = limit_per_source
        self._groups: dict[str, dict[_Member, int]] = {}
        self._sources: dict[_Member, str] = {}
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._sources)

    def members(self) -> list[_Member]:
        """List all members, oldest first."""
        return list(self._sources)

    def admit(self, member: _Member, source: str) -> _Member | None:
        """Add a member and return the one evicted for it, if any; never the new one."""
        self._arrivals += 1
        group = self._groups.setdefault(source, {})
        group[member] = self._arrivals
        self._sources[member] = source
        evicted = None
        if len(group) > self._limit_per_source:
            evicted = next(iter(group))
        elif len(self._sources) > self._limit:
            evicted = self.candidate()
        if evicted is not None:
            self.discard(evicted)
        return evicted

    def count(self, source: str) -> int:
        """Return how many members a source has."""
        return len(self._groups.get(source, ()))

    def candidate(self) -> _Member | None:
        """Return who would be evicted first: the oldest of the source with most members; None if empty."""
        if not self._groups:
            return None
        heaviest = max(self._groups.values(), key=lambda group: (len(group), -next(iter(group.values()))))
        return next(iter(heaviest))

    def discard(self, member: _Member) -> None:
        """Remove a member if it is there."""
        source = self._sources.pop(member, None)
        if source is None:
            return
        group = self._groups[source]
        del group[member]
        if not group:
            del self._groups[source]
