# SPDX-License-Identifier: Apache-2.0
"""What a controller asks to let through to a VIP, parsed and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import ip_network
from typing import Any

from amphora.errors import InvalidInput, RulesFailed
from amphora.models import IPNetwork

_KEYS = {"protocol", "cidr", "port"}
_PORTS = range(1, 65536)
#: To controllers this means everybody, in either family.
_EVERYBODY = ip_network("0.0.0.0/0")


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
        raise InvalidInput(f"protocol: {value!r} is none of {known}") from None


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
