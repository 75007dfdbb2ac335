# SPDX-License-Identifier: Apache-2.0
"""Sections of a configuration that the agent cares for (configuration manual, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.servers import Server


@dataclass(frozen=True, slots=True)
class Frontend:
    """A ``frontend`` section, or the listening half of a ``listen`` section.

    :ivar mode: ``http``, ``tcp`` or what newer versions know; from ``defaults`` where not set here.
    :ivar default_backend: its name, or empty.
    :ivar disabled: haproxy keeps it closed.
    :ivar certain: False inside an ``.if`` or when its name depends on an environment variable.
    """

    name: str
    line: int
    mode: str = "tcp"
    binds: tuple[Bind, ...] = ()
    default_backend: str = ""
    disabled: bool = False
    certain: bool = True

    @property
    def expected_open(self) -> bool:
        """Whether a process that runs this configuration must have it open."""
        return self.certain and not self.disabled


@dataclass(frozen=True, slots=True)
class Backend:
    """A ``backend`` section, or the serving half of a ``listen`` section that has servers."""

    name: str
    line: int
    mode: str = "tcp"
    servers: tuple[Server, ...] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer of a ``peers`` section; haproxy listens on the address of the local one.

    :ivar name: empty for a ``bind`` line, which always is the local peer's.
    """

    name: str
    bind: Bind
