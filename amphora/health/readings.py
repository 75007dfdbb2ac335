# SPDX-License-Identifier: Apache-2.0
"""What sources of statistics tell the heartbeat, and what such a source is.

Everything is in the words of the heartbeat's message, so that only a source knows its program: haproxy
is one, keepalived's LVS may be another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Counters:
    """What a listener has counted, or how much of that is new.

    :ivar received: bytes from clients.
    :ivar sent: bytes to clients.
    :ivar connections: accepted.
    :ivar errors: requests that could not be read.
    """

    received: int = 0
    sent: int = 0
    connections: int = 0
    errors: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.received + other.received,
            self.sent + other.sent,
            self.connections + other.connections,
            self.errors + other.errors,
        )

    def since(self, earlier: Counters) -> Counters:
        """Return how much came since; a counter that went back has begun anew, and all of it is new."""
        return Counters(
            _new(self.received, earlier.received),
            _new(self.sent, earlier.sent),
            _new(self.connections, earlier.connections),
            _new(self.errors, earlier.errors),
        )


def _new(now: int, earlier: int) -> int:
    return now - earlier if now >= earlier else now


@dataclass(frozen=True, slots=True)
class ListenerReading:
    """One listener of one process.

    :ivar status: ``OPEN``, ``FULL``, or what else the program calls it.
    :ivar active: connections open now.
    """

    id: str
    status: str
    active: int
    counters: Counters


@dataclass(frozen=True, slots=True)
class PoolReading:
    """One pool of one process.

    :ivar key: ``<pool>:<listener>``, or the pool's bare id.
    :ivar status: ``UP`` or ``DOWN``.
    :ivar members: member id to ``UP``, ``DOWN``, ``DRAIN``, ``MAINT``, ``no check`` or ``RESTARTING``;
        more may follow the first two after a blank.
    """

    key: str
    status: str
    members: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process's answer.

    :ivar origin: what the process runs: the id of a load balancer or instance.
    :ivar generation: names the process, when its counters begin with it and end with it. Empty where
        that is not known; counters that went back are then taken for new ones.
    :ivar replaced: it only finishes what it has. Its traffic counts, its listeners and pools do not.
    """

    origin: str
    generation: str
    listeners: tuple[ListenerReading, ...]
    pools: tuple[PoolReading, ...] = ()
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class SourceReading:
    """All that a source knows at one moment.

    :ivar origins: everything that exists, running or not; the counters of others are forgotten.
    :ivar generations: every process that answered or may yet do so again.
    :ivar problems: origin to one sentence about what keeps it from being read. That something does not
        run is no problem.
    """

    processes: tuple[ProcessReading, ...] = ()
    origins: frozenset[str] = frozenset()
    generations: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)


class ListenerSource(Protocol):
    """Something that knows listeners. All calls come from one thread."""

    def read(self, patience: float) -> SourceReading:
        """Return everything as it is now, without starting any process.

        :param patience: seconds after which to return with what there is.
        :raises AmphoraError: nothing at all can be told. Other sources are heard all the same.
        """

    def close(self) -> None:
        """Let go of what is held. Safe to repeat; the next reading may take it up again."""
