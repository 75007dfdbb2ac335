# SPDX-License-Identifier: Apache-2.0
"""Readings of listeners and pools, and the contract of what provides them.

Everything is in the words of the heartbeat's message, so that only a source knows its program.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Counters:
    """Counters of a listener, or how much of them is new.

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
        return Counters(*map(operator.add, astuple(self), astuple(other)))

    def since(self, earlier: Counters) -> Counters:
        """Return how much came since; a counter that went back was reset, and all of it is new."""
        return Counters(*map(_new, astuple(self), astuple(earlier)))


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
    """One process.

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
    """Everything that a source reads at one moment.

    :ivar origins: everything that exists, running or not; the counters of others are forgotten.
    :ivar generations: every process that answered or may yet do so again.
    :ivar problems: origin to one sentence about why it cannot be read. Something that does not run is not
        a problem.
    """

    processes: tuple[ProcessReading, ...] = ()
    origins: frozenset[str] = frozenset()
    generations: frozenset[str] = frozenset()
    problems: Mapping[str, str] = field(default_factory=dict)


class ListenerSource(Protocol):
    """Provides readings of listeners. All calls come from one thread."""

    def read(self, timeout: float) -> SourceReading:
        """Return everything as it is now, without starting any process.

        :param timeout: seconds after which to return with what there is.
        :raises AmphoraError: nothing at all can be read. Other sources are read all the same.
        """

    def close(self) -> None:
        """Release what is held. Safe to repeat; the next reading may open it again."""
