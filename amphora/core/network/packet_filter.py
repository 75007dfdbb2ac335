# SPDX-License-Identifier: Apache-2.0
"""The packet filter of a VIP whose port has no security groups: as requested, and as a file for nft(8)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import ip_network
from typing import Any

from amphora.errors import InvalidInput, RulesFailed
from amphora.models import IPNetwork

_KEYS = {"protocol", "cidr", "port"}
_PORTS = range(1, 65536)
#: To controllers this means any source, in either family.
_EVERYBODY = ip_network("0.0.0.0/0")

FAMILY = "inet"
TABLE = "amphora_table"

#: VRRP's number among the protocols above IP (RFC 5798).
_VRRP = 112

_FINGERPRINT, _DIGITS = "sha256:", 32
_COMMENT = re.compile(rf'comment "({_FINGERPRINT}[0-9a-f]{{{_DIGITS}}})"'.encode())

# The table is made before it is deleted, since deleting one that is missing would fail.
# Local traffic first: of connections older than the first such table, the kernel takes packets for invalid.
_FILE = """\
table {family} {table} {{
}}
delete table {family} {table}
table {family} {table} {{
    chain amphora_chain {{
        type filter hook input priority filter; policy drop;
        iifname "lo" accept
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
        ip saddr 127.0.0.0/8 drop
        ip6 saddr ::1 drop
        icmp type destination-unreachable accept
        icmpv6 type {{ {icmpv6} }} accept
        udp sport . udp dport {{ 67 . 68, 547 . 546 }} accept
        iifname "{interface}" jump amphora_vip_chain comment "{fingerprint}"
        iifname != "{interface}" ct state untracked tcp flags & (syn | ack) != syn accept
    }}
    chain amphora_vip_chain {{
{rules}    }}
}}
"""

_ICMPV6 = (
    "nd-neighbor-solicit",
    "nd-neighbor-advert",
    "nd-router-advert",
    "packet-too-big",
    "destination-unreachable",
)


class RuleProtocol(Enum):
    """What a rule lets through; the values are those of requests, in exactly this spelling."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"
    VRRP = "vrrp"


@dataclass(frozen=True, slots=True)
class AllowRule:
    """Packets that a VIP's interface takes.

    :ivar source: where they may come from; None: from anywhere, in either family.
    :ivar port: that they are for; of no meaning to VRRP, which has none.
    """

    protocol: RuleProtocol
    source: IPNetwork | None
    port: int


def parse_rules(document: object) -> tuple[AllowRule, ...]:
    """Return the rules of a request, each once.

    :param document: as decoded from JSON: a list of objects of ``protocol``, ``cidr`` and ``port``.
    :raises InvalidInput: it has another form.
    :raises RulesFailed: it has this form, but a ``cidr`` is no network.
    """
    if not isinstance(document, list):
        raise InvalidInput("The body is not a JSON array")
    return tuple(dict.fromkeys(_with_source(*form) for form in [_form(each) for each in document]))


def render_packet_filter(interface: str, rules: Iterable[AllowRule]) -> str:
    """Return the file; what it was before plays no part, so that it may be loaded again and again.

    Answers to connections of this amphora's own always come in, and so does its local traffic: without that
    its members would fail their checks. Towards members the kernel may have been
    configured not to track TCP; answers are then known by their flags.

    :param interface: the VIP's, whose new packets the rules are about.
    """
    values = {
        "family": FAMILY,
        "table": TABLE,
        "icmpv6": ", ".join(_ICMPV6),
        "interface": interface,
        "rules": "".join(f"        {_statement(rule)}\n" for rule in _widest(rules)),
    }
    digest = hashlib.sha256(_FILE.format(**values, fingerprint="").encode()).hexdigest()
    return _FILE.format(**values, fingerprint=f"{_FINGERPRINT}{digest[:_DIGITS]}")


def fingerprint_of(text: bytes) -> bytes:
    """Return the comment that is the same in a file and in the kernel, where nft has rewritten the rules.

    Empty for files of other agents, and of earlier versions of this one.
    """
    found = _COMMENT.search(text)
    return found[1] if found else b""


def _widest(rules: Iterable[AllowRule]) -> list[AllowRule]:
    # A network within another is redundant, and nft cannot merge such rules.
    asked = dict.fromkeys(rules)
    return [
        rule for rule in asked if not any(replace(rule, source=wider) in asked for wider in _around(rule))
    ]


def _around(rule: AllowRule) -> Iterator[IPNetwork | None]:
    if rule.source is not None:
        yield None
        for prefix in range(rule.source.prefixlen):
            yield rule.source.supernet(new_prefix=prefix)


def _statement(rule: AllowRule) -> str:
    words = []
    if rule.source is not None:
        words.append(f"{_family(rule.source)} saddr {rule.source}")
    if rule.protocol is RuleProtocol.VRRP:
        words.append(_vrrp(rule.source))
    else:
        words.append(f"{rule.protocol.value.lower()} dport {rule.port}")
    return " ".join([*words, "accept"])


def _vrrp(source: IPNetwork | None) -> str:
    if source is None:
        return f"meta l4proto {_VRRP}"
    return f"ip protocol {_VRRP}" if source.version == 4 else f"ip6 nexthdr {_VRRP}"


def _family(network: IPNetwork) -> str:
    return "ip" if network.version == 4 else "ip6"


def _form(document: object) -> tuple[RuleProtocol, str | None, int]:
    if not isinstance(document, Mapping) or set(document) != _KEYS:
        raise InvalidInput(f"{document!r} is not an object of protocol, cidr and port")
    cidr = document["cidr"]
    if cidr is not None and not isinstance(cidr, str):
        raise InvalidInput(f"cidr: {cidr!r} is neither a string nor null")
    return _protocol(document["protocol"]), cidr, _port(document["port"])


def _protocol(value: Any) -> RuleProtocol:
    try:
        return RuleProtocol(value)
    except ValueError:
        known = ", ".join(each.value for each in RuleProtocol)
        raise InvalidInput(f"protocol: {value!r} is not one of {known}") from None


def _port(value: Any) -> int:
    # JSON has one kind of number, so 443.0 is as good as 443.
    if isinstance(value, bool) or not isinstance(value, int | float) or value not in _PORTS:
        raise InvalidInput(f"port: {value!r} is not a number from 1 to 65535")
    return int(value)


def _with_source(protocol: RuleProtocol, cidr: str | None, port: int) -> AllowRule:
    try:
        source = None if cidr is None or "%" in cidr else ip_network(cidr, strict=False)
    except ValueError as error:
        raise RulesFailed(f"cidr: {cidr!r} is not a network in CIDR notation") from error
    if cidr is not None and source is None:
        raise RulesFailed(f"cidr: {cidr!r} is not a network in CIDR notation")
    return AllowRule(protocol, None if source == _EVERYBODY else source, port)
