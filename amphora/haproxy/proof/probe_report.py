# SPDX-License-Identifier: Apache-2.0
"""What was seen of the binds of a running configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType


class Seen(Enum):
    """How far a proof has come; the last two are none."""

    #: A handshake brought the certificate that is stored.
    CERTIFICATE = "serves its certificate"
    CONNECTED = "answers"
    #: The worker listens; the note says why nothing more was tried.
    HELD = "is listened on"
    #: Nothing can be told from here; the note says why.
    UNKNOWN = "not looked at"
    UNREACHED = "not reached"
    OTHER_CERTIFICATE = "serves another certificate"


@dataclass(frozen=True, slots=True)
class BindReach:
    """What was seen of one address of a bind line.

    :ivar frontend: name of the section; empty for what is no frontend's.
    :ivar note: for people; may be empty.
    """

    line: int
    frontend: str
    address: str
    seen: Seen
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether clients would not find what the configuration promises. Peers and logs do not count."""
        return bool(self.frontend) and self.seen in (Seen.UNREACHED, Seen.OTHER_CERTIFICATE)

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"line {self.line}: bind {self.address} {self.seen.value}{note}"


@dataclass(frozen=True, slots=True)
class ReachReport:
    """What was seen of all binds.

    :ivar handshakes: frontend to the TLS connections that were begun and left: in its ``conn_tot``, and in
        none of the numbers that heartbeats carry.
    :ivar noticed: frontend to the connections that it may have counted as a client's after all.
    """

    binds: tuple[BindReach, ...] = ()
    handshakes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    noticed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def failures(self) -> tuple[BindReach, ...]:
        """Return the binds where clients would not find what the configuration promises."""
        return tuple(bind for bind in self.binds if bind.failed)

    def plus(self, former: ReachReport) -> ReachReport:
        """Return this report with the connections of a former look added."""
        return replace(
            self,
            handshakes=_sum(self.handshakes, former.handshakes),
            noticed=_sum(self.noticed, former.noticed),
        )

    def __str__(self) -> str:
        counts = {seen: sum(bind.seen is seen for bind in self.binds) for seen in Seen}
        parts = [f"{seen.value}: {count}" for seen, count in counts.items() if count]
        counted = f" ({', '.join(parts)})" if parts else ""
        notes = [str(bind) for bind in self.binds if bind.note]
        return "; ".join([f"binds: {len(self.binds)}{counted}", *notes])


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    return MappingProxyType({name: one.get(name, 0) + other.get(name, 0) for name in {*one, *other}})
