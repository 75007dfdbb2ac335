# SPDX-License-Identifier: Apache-2.0
"""The kernel's virtual services and their servers: ``/proc/net/ip_vs``.

::

    IP Virtual Server version 1.2.1 (size=4096)
    Prot LocalAddress:Port Scheduler Flags
      -> RemoteAddress:Port Forward Weight ActiveConn InActConn
    UDP  CB007102:0035 wrr
      -> 0A000015:0035      Masq    1      0          3
    UDP  [2001:0db8:0000:0000:0000:0000:0000:0004]:0035 lc
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from amphora.system.processes import PROC

_ENDPOINT = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:]{2,39})\]|(?P<four>[0-9A-Fa-f]{8})):(?P<port>[0-9A-Fa-f]{4})"
)
_ARROW = "->"
_WEIGHT, _ACTIVE = 3, 4
_DIGITS = 20
IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address and a port."""

    address: IPAddress
    port: int

    def __str__(self) -> str:
        host = f"[{self.address}]" if self.address.version == 6 else str(self.address)
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class VirtualService:
    """What clients connect to.

    :ivar protocol: ``UDP``, ``SCTP`` or ``TCP``.
    """

    protocol: str
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.protocol} {self.endpoint}"


@dataclass(frozen=True, slots=True)
class IpvsServer:
    """Where a virtual service sends traffic.

    :ivar weight: 0 gets no new connections.
    :ivar active: connections open now, as the kernel counts them for this protocol.
    """

    endpoint: Endpoint
    weight: int
    active: int


@dataclass(slots=True)
class IpvsService:
    """One virtual service."""

    service: VirtualService
    servers: list[IpvsServer] = field(default_factory=list)


def read_table(process: str = "thread-self") -> tuple[IpvsService, ...]:
    """Return what a process's network namespace has; nothing where the kernel has no IPVS.

    :param process: a process id, or ``thread-self``: unlike ``self`` that is true inside
        :func:`amphora.system.namespaces.call_inside`, where only the calling thread has moved.
    """
    return read_table_from(PROC / process / "net" / "ip_vs")


def is_available(process: str = "thread-self") -> bool:
    """Whether the kernel has IPVS in a process's network namespace; see :func:`read_table`."""
    return (PROC / process / "net" / "ip_vs").exists()


def read_table_from(path: Path) -> tuple[IpvsService, ...]:
    """Return what a file of this form has; nothing if it is not there."""
    try:
        with path.open(encoding="ascii", errors="replace") as lines:
            return parse_table(lines)
    except OSError:
        return ()


def parse_table(lines: Iterable[str]) -> tuple[IpvsService, ...]:
    """Read the table; lines of another form are skipped, as are services by firewall mark."""
    found: list[IpvsService] = []
    current: IpvsService | None = None
    for line in lines:
        words = line.split()
        if words[:1] == [_ARROW]:
            server = _server(words)
            if current is not None and server is not None:
                current.servers.append(server)
            continue
        endpoint = _endpoint(words[1]) if len(words) > 1 else None
        # What follows belongs to a service of another kind if this line cannot be read.
        current = IpvsService(VirtualService(words[0], endpoint)) if endpoint else None
        if current is not None:
            found.append(current)
    return tuple(found)


def _server(words: list[str]) -> IpvsServer | None:
    endpoint = _endpoint(words[1]) if len(words) > _ACTIVE else None
    if endpoint is None or not all(_is_number(words[at]) for at in (_WEIGHT, _ACTIVE)):
        return None
    return IpvsServer(endpoint, int(words[_WEIGHT]), int(words[_ACTIVE]))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _DIGITS


def _endpoint(text: str) -> Endpoint | None:
    match = _ENDPOINT.fullmatch(text)
    if match is None:
        return None
    port = int(match["port"], 16)
    if match["four"]:
        return Endpoint(IPv4Address(int(match["four"], 16)), port)
    try:
        return Endpoint(IPv6Address(match["six"]), port)
    except ValueError:
        return None
