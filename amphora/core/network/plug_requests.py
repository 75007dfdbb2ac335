# SPDX-License-Identifier: Apache-2.0
"""Requests to plug a port, parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import (
    ip_address,
    ip_interface,
    ip_network,
)
from typing import Any

from amphora.errors import (
    InvalidFixedIp,
    InvalidInput,
    InvalidNetwork,
    InvalidOwnAddress,
    InvalidSubnet,
    InvalidVip,
)
from amphora.models import IPAddress, IPInterface, IPNetwork

_MAC_ADDRESS = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_MULTICAST_BIT = 1
#: What IPv4 and IPv6 hosts must be able to carry at least, and the largest IP packet.
_MTU_BOUNDS = range(68, 65536)


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route that a tenant asked for."""

    destination: IPNetwork
    next_hop: IPAddress


@dataclass(frozen=True, slots=True)
class VipAddress:
    """One virtual address and the subnet it belongs to.

    :ivar gateway: of the subnet, or None.
    """

    address: IPAddress
    subnet: IPNetwork
    gateway: IPAddress | None
    host_routes: tuple[HostRoute, ...] = ()


@dataclass(frozen=True, slots=True)
class VipRequest:
    """A port that carries one or more virtual addresses.

    :ivar mac_address: lower case with colons.
    :ivar vips: the primary one first; additional ones may be of the other family.
    :ivar own_address: the port's own fixed address, or None.
    :ivar is_sriov: whether the hypervisor passes the port through, so that no security group filters it.
    """

    mac_address: str
    vips: tuple[VipAddress, ...]
    own_address: IPAddress | None = None
    mtu: int | None = None
    is_sriov: bool = False


@dataclass(frozen=True, slots=True)
class FixedIp:
    """A fixed address of a member port, with its subnet's prefix length.

    :ivar gateway: of the subnet, or None. It counts only on the port of a VIP.
    """

    address: IPInterface
    host_routes: tuple[HostRoute, ...] = ()
    gateway: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """A port towards members. Without fixed addresses it is configured by the network.

    :ivar shares_vip_port: whether the port may be that of a VIP, which then keeps what it holds.
    :ivar vip: that VIP as far as it is known, for a port that another program has plugged.
    """

    mac_address: str
    fixed_ips: tuple[FixedIp, ...] = ()
    mtu: int | None = None
    shares_vip_port: bool = False
    vip: VipRequest | None = None


def parse_vip_request(vip: str, document: object) -> VipRequest:
    """Return the request to plug a VIP.

    :param vip: the primary virtual address, in any spelling.
    :param document: as decoded from JSON: ``subnet_cidr``, ``gateway`` and ``mac_address``, and optionally
        ``mtu``, ``vrrp_ip``, ``host_routes``, ``additional_vips`` and ``is_sriov``. Unknown
        keys are ignored.
    :raises InvalidVip: a virtual address cannot be one.
    :raises InvalidSubnet: something else is missing or unusable; details name it.
    """
    address, document = parse_vip(vip), _object(document, "The body")
    additional = tuple(_additional_vip(each) for each in _list(document, "additional_vips"))
    try:
        own = _optional(document, "vrrp_ip", _address)
    except InvalidSubnet as error:
        raise InvalidOwnAddress(error.details) from error
    return VipRequest(
        mac_address=parse_mac_address(_required(document, "mac_address")),
        vips=(_vip_address(address, document), *additional),
        own_address=own,
        mtu=_optional(document, "mtu", _mtu),
        is_sriov=bool(_optional(document, "is_sriov", _flag)),
    )


def parse_network_request(document: object) -> NetworkRequest:
    """Return the request to plug a member network.

    :param document: as decoded from JSON: ``mac_address`` and optionally ``fixed_ips`` and ``mtu``.
    :raises InvalidFixedIp: one of the fixed addresses is missing something or unusable.
    :raises InvalidInput: something else is; details name it.
    """
    try:
        document = _object(document, "The body")
        mac_address = parse_mac_address(_required(document, "mac_address"))
        mtu = _optional(document, "mtu", _mtu)
    except InvalidSubnet as error:
        raise InvalidInput(error.details) from error
    try:
        fixed_ips = tuple(_fixed_ip(each) for each in _list(document, "fixed_ips"))
    except InvalidSubnet as error:
        raise InvalidFixedIp(error.details) from error
    return NetworkRequest(mac_address, fixed_ips, mtu)


def parse_shared_network_request(document: object) -> NetworkRequest:
    """Return the request to plug a member network whose port may be that of a VIP.

    :param document: as for :func:`parse_network_request`; ``vip_net_info``, if there, is one for
        :func:`parse_vip_request` that names the virtual address as ``vip``.
    :raises InvalidInput: likewise.
    """
    request = replace(parse_network_request(document), shares_vip_port=True)
    known = document.get("vip_net_info") if isinstance(document, Mapping) else None
    if known is None:
        return request
    try:
        known = _object(known, "the value")
        return replace(request, vip=parse_vip_request(str(_required(known, "vip")), known))
    except (InvalidSubnet, InvalidVip) as error:
        raise InvalidInput(f"vip_net_info: {error.details}") from error


def parse_vip(text: str) -> IPAddress:
    """Return a virtual address.

    :raises InvalidVip: it is not an address, or not one that an interface can hold for others to reach.
    """
    try:
        address = _plain_address(text)
    except ValueError as error:
        raise InvalidVip(f"{text!r} is not an IP address") from error
    if address.is_unspecified or address.is_multicast or address.is_loopback or address.is_link_local:
        raise InvalidVip(f"{address} cannot be a virtual IP address")
    return address


def parse_mac_address(value: object) -> str:
    """Return a MAC address in lower case with colons, from any case.

    :raises InvalidSubnet: it is not one, or a multicast or empty one.
    """
    text = value.lower() if isinstance(value, str) else ""
    if not _MAC_ADDRESS.fullmatch(text) or int(text[:2], 16) & _MULTICAST_BIT or not text.strip("0:"):
        raise InvalidSubnet(f"mac_address: {value!r} is not the MAC address of an interface")
    return text


def _additional_vip(document: object) -> VipAddress:
    fields = _object(document, f"additional_vips: {document!r}")
    return _vip_address(parse_vip(str(_required(fields, "ip_address"))), fields)


def _vip_address(address: IPAddress, document: Mapping[str, Any]) -> VipAddress:
    subnet = _vip_subnet(_required(document, "subnet_cidr"))
    if "gateway" not in document:
        raise InvalidSubnet("gateway is missing; null stands for none")
    if address not in subnet:
        raise InvalidNetwork(f"subnet_cidr: {address} is not in {subnet}")
    return VipAddress(address, subnet, _gateway(document, subnet), _host_routes(document))


def _vip_subnet(value: object) -> IPNetwork:
    try:
        return _network("subnet_cidr", value)
    except InvalidSubnet as error:
        raise InvalidNetwork(error.details) from error


def _fixed_ip(document: object) -> FixedIp:
    fields = _object(document, f"fixed_ips: {document!r}")
    address = _address("ip_address", _required(fields, "ip_address"))
    subnet = _network("subnet_cidr", _required(fields, "subnet_cidr"))
    if address not in subnet:
        raise InvalidSubnet(f"fixed_ips: {address} is not in {subnet}")
    gateway = _gateway(fields, subnet)
    return FixedIp(ip_interface((address, subnet.prefixlen)), _host_routes(fields), gateway)


def _gateway(document: Mapping[str, Any], subnet: IPNetwork) -> IPAddress | None:
    gateway: IPAddress | None = _optional(document, "gateway", _address)
    if gateway is not None and gateway.version != subnet.version:
        raise InvalidSubnet(f"gateway: {gateway} is of another family than {subnet}")
    return gateway


def _host_routes(document: Mapping[str, Any]) -> tuple[HostRoute, ...]:
    return tuple(_host_route(each) for each in _list(document, "host_routes"))


def _host_route(document: object) -> HostRoute:
    fields = _object(document, f"host_routes: {document!r}")
    destination = _network("destination", _required(fields, "destination"))
    next_hop = _address("nexthop", _required(fields, "nexthop"))
    if destination.version != next_hop.version:
        raise InvalidSubnet(f"host_routes: {next_hop} is of another family than {destination}")
    return HostRoute(destination, next_hop)


def _object(document: object, what: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise InvalidSubnet(f"{what} is not a JSON object")
    return document


def _required(document: Mapping[str, Any], key: str) -> Any:
    value = document.get(key)
    if value is None:
        raise InvalidSubnet(f"{key} is missing")
    return value


def _optional(document: Mapping[str, Any], key: str, parse: Any) -> Any:
    value = document.get(key)
    return None if value is None else parse(key, value)


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    if value is not None and not isinstance(value, list):
        raise InvalidSubnet(f"{key} is not a list")
    return value or []


def _plain_address(value: object) -> IPAddress:
    # A number would be the integer form of an address, and a zone names a link of the sender's.
    if not isinstance(value, str) or "%" in value:
        raise ValueError(value)
    return ip_address(value)


def _address(key: str, value: object) -> IPAddress:
    try:
        return _plain_address(value)
    except ValueError as error:
        raise InvalidSubnet(f"{key}: {value!r} is not an IP address") from error


def _network(key: str, value: object) -> IPNetwork:
    try:
        if not isinstance(value, str) or "%" in value:
            raise ValueError(value)
        return ip_network(value)
    except ValueError as error:
        raise InvalidSubnet(f"{key}: {value!r} is not a network in CIDR notation") from error


def _mtu(key: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in _MTU_BOUNDS:
        raise InvalidSubnet(f"{key}: {value!r} is not a number of bytes from 68 to 65535")
    return value


def _flag(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidSubnet(f"{key}: {value!r} is neither true nor false")
    return value
