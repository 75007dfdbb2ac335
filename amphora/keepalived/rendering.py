# SPDX-License-Identifier: Apache-2.0
"""The configuration of one node of an active-standby pair for which the controller has sent none."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from amphora.models import IPAddress, IPInterface, Role

#: Name of our one VRRP instance.
INSTANCE_NAME = "amphora"

#: The table that routes of tenant traffic are kept in, and the priority of the rule that leads to it.
ROUTING_TABLE = 1
RULE_PRIORITY = 100

_PRIORITIES = {Role.ACTIVE: 100, Role.STANDBY: 90}
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")

#: Longest password that VRRPv2 carries (RFC 2338, section 5.3.6).
_PASSWORD_LENGTH = 8

_VirtualAddresses = Sequence[IPInterface]


@dataclass(frozen=True, slots=True)
class PairMember:
    """One node of an active-standby pair.

    :ivar interface: where adverts go and virtual addresses are put, as seen inside the namespace.
    :ivar addresses: the virtual addresses with the prefix lengths of their subnets; 32 or 128 where
        the subnet is not known. The first decides whether VRRP speaks IPv4 or IPv6.
    :ivar role: initial role of the node: ACTIVE or STANDBY.
    :ivar secret: shared by both nodes; never logged.
    :ivar gateways: next hops of the subnets' default routes.
    :ivar advert_interval: seconds between adverts.
    """

    interface: str
    addresses: tuple[IPInterface, ...]
    role: Role
    secret: str
    gateways: tuple[IPAddress, ...] = ()
    advert_interval: float = 1.0

    def __repr__(self) -> str:
        return f"PairMember({self.interface}, {self.addresses}, {self.role})"


def render(member: PairMember) -> bytes:
    """Return a complete keepalived.conf(5); the same member gives the same bytes.

    Both nodes begin as BACKUP with ``nopreempt``, and the priority lets the ACTIVE one win the first
    election: a node that comes back leaves the virtual address where it is, so one failure costs one
    interruption and not two. No peer is known, so adverts are multicast.

    :raises ValueError: the interface cannot be one, or there is no address or role.
    """
    if not _INTERFACE.fullmatch(member.interface) or not member.addresses:
        raise ValueError("a pair needs an interface and a virtual address")
    if member.role not in _PRIORITIES:
        raise ValueError("a pair's node is either ACTIVE or STANDBY")
    return ("\n".join(_lines(member)) + "\n").encode()


def virtual_router_id(address: IPAddress) -> int:
    """Return the same number from 1 to 255 on both nodes.

    It is the last byte of the address, so that pairs in one network of 254 hosts never share one.
    """
    return address.packed[-1] or 255


def password(secret: str) -> str:
    """Return what VRRPv2 sends along for a secret: eight characters that keepalived reads unchanged.

    A digest of the whole secret rather than its beginning, which would put that on the wire.
    """
    return sha256(b"amphora vrrp " + secret.encode()).hexdigest()[:_PASSWORD_LENGTH]


def _lines(member: PairMember) -> Iterator[str]:
    family = member.addresses[0].version
    # VRRPv2 knows neither IPv6 nor parts of a second, and VRRPv3 no authentication (RFC 5798).
    version = 2 if family == 4 and member.advert_interval == int(member.advert_interval) else 3
    yield "# Written by amphora-agent for an active-standby pair."
    yield f"vrrp_instance {INSTANCE_NAME} {{"
    yield "    state BACKUP"
    yield "    nopreempt"
    yield f"    version {version}"
    yield f"    interface {member.interface}"
    yield f"    virtual_router_id {virtual_router_id(member.addresses[0].ip)}"
    yield f"    priority {_PRIORITIES[member.role]}"
    yield f"    advert_int {member.advert_interval:g}"
    yield "    accept"
    yield "    garp_master_refresh 5"
    yield "    garp_master_refresh_repeat 2"
    if version == 2:
        yield from _block("authentication", ("auth_type PASS", f"auth_pass {password(member.secret)}"))
    yield from _addresses(member.addresses, family)
    yield from _block("virtual_routes", _routes(member))
    yield from _block("virtual_rules", _rules(member.addresses))
    yield "}"


def _addresses(addresses: _VirtualAddresses, family: int) -> Iterator[str]:
    # Without a prefix length: an address with its subnet's could become the interface's primary one,
    # and take the node's own with it when it is removed.
    same = [str(address.ip) for address in addresses if address.version == family]
    other = [str(address.ip) for address in addresses if address.version != family]
    yield from _block("virtual_ipaddress", same)
    yield from _block("virtual_ipaddress_excluded", other)


def _routes(member: PairMember) -> Iterator[str]:
    where = f"dev {member.interface}"
    for address in member.addresses:
        if address.network.prefixlen < address.max_prefixlen:
            # Without it clients on the address's own subnet would be answered through the gateway.
            yield f"{address.network} {where} src {address.ip} scope link table {ROUTING_TABLE}"
    for gateway in member.gateways:
        yield f"default via {gateway} {where} onlink table {ROUTING_TABLE}"


def _rules(addresses: _VirtualAddresses) -> Iterator[str]:
    for address in addresses:
        source = f"{address.ip}/{address.max_prefixlen}"
        yield f"from {source} table {ROUTING_TABLE} priority {RULE_PRIORITY}"


def _block(keyword: str, lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    content = [f"        {line}" for line in lines]
    if content:
        yield f"    {keyword} {{"
        yield from content
        yield "    }"
