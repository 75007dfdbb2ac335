# SPDX-License-Identifier: Apache-2.0
"""The packet filter of a VIP whose port has no security groups, as a file for nft(8)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from amphora.core.rule_requests import AllowRule, IPNetwork, RuleProtocol

FAMILY = "inet"
TABLE = "amphora_table"

#: VRRP's number among the protocols above IP (RFC 5798).
_VRRP = 112

# The table is made before it is deleted, since deleting one that is missing would fail.
_FILE = """\
table {family} {table} {{
}}
delete table {family} {table}
table {family} {table} {{
    chain amphora_chain {{
        type filter hook input priority filter; policy drop;
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
        iifname "lo" accept
        ip saddr 127.0.0.0/8 drop
        ip6 saddr ::1 drop
        icmp type destination-unreachable accept
        icmpv6 type {{ {icmpv6} }} accept
        udp sport . udp dport {{ 67 . 68, 547 . 546 }} accept
        iifname "{interface}" jump amphora_vip_chain
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


def render_packet_filter(interface: str, rules: Iterable[AllowRule]) -> str:
    """Return the file; what it was before plays no part, so that it may be loaded again and again.

    Whatever the rules, answers to what this amphora itself began come in, and so does its own local
    traffic: without that it would take its members for dead. Towards members the kernel may have been
    told not to track TCP, and then answers are known by their flags.

    :param interface: the VIP's, whose new packets the rules are about.
    """
    lines = "".join(f"        {_statement(rule)}\n" for rule in _widest(rules))
    return _FILE.format(
        family=FAMILY, table=TABLE, icmpv6=", ".join(_ICMPV6), interface=interface, rules=lines
    )


def _widest(rules: Iterable[AllowRule]) -> list[AllowRule]:
    # Networks in networks are of no use, and nft cannot merge rules of such.
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
