# SPDX-License-Identifier: Apache-2.0
"""Results of probing the binds of a running configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType


class ProbeResult(Enum):
    """What a probe has shown; the last two are failures."""

    #: A handshake brought the certificate that is stored.
    CERTIFICATE = "serves its certificate"
    CONNECTED = "answers"
    #: The worker listens; the note says why nothing else was tried.
    HELD = "is listened on"
    #: It cannot be probed from here; the note says why.
    UNKNOWN = "not probed"
    UNREACHED = "not reached"
    OTHER_CERTIFICATE = "serves another certificate"


@dataclass(frozen=True, slots=True)
class BindProbe:
    """One probed address of a bind line.

    :ivar frontend: name of the section; empty for a bind outside frontends.
    :ivar note: for people; may be empty.
    """

    line: int
    frontend: str
    address: str
    result: ProbeResult
    note: str = ""

    @property
    def failed(self) -> bool:
        """Whether clients cannot use a frontend as configured. Peers and logs do not count."""
        return bool(self.frontend) and self.result in (ProbeResult.UNREACHED, ProbeResult.OTHER_CERTIFICATE)

    def __str__(self) -> str:
        note = f" ({self.note})" if self.note else ""
        return f"line {self.line}: bind {self.address} {self.result.value}{note}"


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """All probed binds.

    :ivar handshakes: frontend to the TLS connections that were begun and aborted: they count in its
        ``conn_tot``, and in no statistics of heartbeats.
    :ivar noticed: frontend to the connections that it may have counted as a client's all the same.
    """

    binds: tuple[BindProbe, ...] = ()
    handshakes: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    noticed: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    def failures(self) -> tuple[BindProbe, ...]:
        """Return the binds that clients cannot use as configured."""
        return tuple(bind for bind in self.binds if bind.failed)

    def plus(self, former: ProbeReport) -> ProbeReport:
        """Return this report with the connections of a former one added."""
        return replace(
            self,
            handshakes=Counter(self.handshakes) + Counter(former.handshakes),
            noticed=Counter(self.noticed) + Counter(former.noticed),
        )

    def __str__(self) -> str:
        counts = Counter(bind.result for bind in self.binds)
        parts = [f"{result.value}: {counts[result]}" for result in ProbeResult if counts[result]]
        counted = f" ({', '.join(parts)})" if parts else ""
        notes = [str(bind) for bind in self.binds if bind.note]
        return "; ".join([f"binds: {len(self.binds)}{counted}", *notes])
