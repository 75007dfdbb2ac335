# SPDX-License-Identifier: Apache-2.0
"""Addresses that a configuration listens on (configuration manual, ``bind`` and section 11).

haproxy splits the host from the port at the last colon, so that ``2001:db8::4:80`` is port 80 of
``2001:db8::4``; brackets are allowed and not needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from amphora.models import IPAddress

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_LAST_PORT = 65535


class EndpointKind(Enum):
    """What a process opens for an address."""

    TCP = "tcp"
    UDP = "udp"
    UNIX = "unix"
    ABSTRACT = "abstract unix"
    #: Inherited, or only known to haproxy itself: host names, environment variables, odd text.
    UNRESOLVABLE = "unresolvable"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address, with one port or a range of them.

    :ivar text: as the configuration has it.
    :ivar host: of TCP and UDP only; ``0.0.0.0`` and ``::`` mean every address.
    :ivar ports: of TCP and UDP only.
    :ivar path: of a UNIX socket, or the name of an abstract one.
    """

    kind: EndpointKind
    text: str
    host: IPAddress | None = None
    ports: range = range(0)
    path: str = ""


_IPV4_ANY, _IPV6_ANY = IPv4Address(0), IPv6Address(0)

#: Prefix to kind and to the address that an empty host or ``*`` stands for.
_IP_PREFIXES: dict[str, tuple[EndpointKind, IPAddress]] = {
    "": (EndpointKind.TCP, _IPV4_ANY),
    "ipv4": (EndpointKind.TCP, _IPV4_ANY),
    "ipv6": (EndpointKind.TCP, _IPV6_ANY),
    "tcp": (EndpointKind.TCP, _IPV4_ANY),
    "tcp4": (EndpointKind.TCP, _IPV4_ANY),
    "tcp6": (EndpointKind.TCP, _IPV6_ANY),
    "udp": (EndpointKind.UDP, _IPV4_ANY),
    "udp4": (EndpointKind.UDP, _IPV4_ANY),
    "udp6": (EndpointKind.UDP, _IPV6_ANY),
    "quic4": (EndpointKind.UDP, _IPV4_ANY),
    "quic6": (EndpointKind.UDP, _IPV6_ANY),
}


def parse_addresses(text: str, *, unix_prefix: str = "", datagram: bool = False) -> tuple[Endpoint, ...]:
    """Return the endpoints of a comma-separated list of addresses; odd ones are UNRESOLVABLE.

    :param unix_prefix: the global ``unix-bind prefix``, put before the paths of UNIX sockets.
    :param datagram: addresses without a prefix are UDP (``dgram-bind``).
    """
    return tuple(_parse_address(part, unix_prefix, datagram) for part in text.split(",") if part)


def unresolvable(text: str) -> Endpoint:
    """Return the endpoint for an address that only haproxy can resolve."""
    return Endpoint(EndpointKind.UNRESOLVABLE, text)


def unmapped(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that an IPv6 one stands for (RFC 4291, section 2.5.5.2), or itself."""
    return (address.ipv4_mapped if isinstance(address, IPv6Address) else None) or address


def _parse_address(text: str, unix_prefix: str, datagram: bool) -> Endpoint:
    if "$" in text:
        return unresolvable(text)
    prefix, address = _split_prefix(text.removeprefix("stream+"))
    if prefix in ("unix", "uxst") or (not prefix and address.startswith("/")):
        return Endpoint(EndpointKind.UNIX, text, path=unix_prefix + address)
    if prefix == "abns":
        return Endpoint(EndpointKind.ABSTRACT, text, path=address)
    if prefix not in _IP_PREFIXES:
        return unresolvable(text)
    kind, default = _IP_PREFIXES[prefix]
    if datagram and not prefix:
        kind = EndpointKind.UDP
    host, ports = _parse_host(address, default), _parse_ports(address)
    if host is None or ports is None:
        return unresolvable(text)
    return Endpoint(kind, text, host, ports)


def _split_prefix(text: str) -> tuple[str, str]:
    if "@" not in text or text.startswith("/"):
        return "", text
    prefix, _, address = text.partition("@")
    return prefix or "@", address


def _parse_host(address: str, default: IPAddress) -> IPAddress | None:
    host = address.rpartition(":")[0]
    if host in ("", "*"):
        return default
    try:
        return IPv4Address(host)
    except AddressValueError:
        pass
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        return None if "%" in bare else IPv6Address(bare)
    except AddressValueError:
        return None


def _parse_ports(address: str) -> range | None:
    _, separator, text = address.rpartition(":")
    match = _PORTS.fullmatch(text)
    if not separator or not match:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    return range(first, last + 1) if 1 <= first <= last <= _LAST_PORT else None
