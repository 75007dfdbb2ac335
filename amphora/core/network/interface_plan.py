# SPDX-License-Identifier: Apache-2.0
"""Configurations of the interfaces of plugged ports."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_interface, ip_network

from amphora.core.network.plug_requests import HostRoute, NetworkRequest, VipRequest
from amphora.models import (
    InterfaceConfig,
    InterfaceRole,
    IPAddress,
    IPInterface,
    IPNetwork,
    Route,
    RoutingRule,
)

MAIN_TABLE = 254

#: From here to the main table the kernel's own tables begin.
_FIRST_RESERVED_TABLE = 253
_NUMBER = re.compile(r"\d+$")


def vip_table(name: str) -> int:
    """Return the routing table of a VIP's interface: 1 for ``eth1``, as controllers' own files have it.

    Packets from a virtual address are routed by that table, so that an answer leaves by the
    interface it is for, independently of routes of member networks. Each interface has one of its own.
    """
    number = _NUMBER.search(name)
    return int(number[0]) if number and 0 < int(number[0]) < _FIRST_RESERVED_TABLE else 1


def vip_interface(name: str, request: VipRequest) -> InterfaceConfig:
    """Return what a VIP's interface holds when it holds the virtual addresses itself.

    With an address of its own the port's virtual addresses are single hosts beside it; without one
    the first virtual address of a subnet carries the subnet's prefix length.
    """
    own = _own_address(request)
    held = (*((own,) if own else ()), *_vip_interfaces(request))
    return InterfaceConfig(
        name=name,
        mac_address=request.mac_address,
        role=InterfaceRole.VIP,
        addresses=held,
        mtu=request.mtu,
        routes=_first_of_each(_vip_routes(request, held, vip_table(name))),
        rules=_vip_rules(request, vip_table(name)),
    )


def held_elsewhere(config: InterfaceConfig) -> InterfaceConfig:
    """Return a VIP's interface from which another program (keepalived) takes the virtual addresses.

    It brings rules and the routes that go with them itself. Where no address is left, the interface
    asks the network for one. Safe to repeat.
    """
    vips = {rule.source.network_address for rule in config.rules}
    held = tuple(address for address in config.addresses if address.ip not in vips)
    floating = tuple(address for address in config.addresses if address.ip in vips)
    kept = [route for route in config.routes if route.table == MAIN_TABLE or _is_host_route(route)]
    subnets = [route.destination for route in config.routes if route.preferred_source]
    covered = {address.network for address in held}
    return replace(
        config,
        addresses=held,
        floating=(*config.floating, *floating),
        automatic=not held,
        routes=_first_of_each([*kept, *(Route(subnet) for subnet in subnets if subnet not in covered)]),
        rules=(),
    )


def held_here(config: InterfaceConfig) -> InterfaceConfig:
    """Return a VIP's interface that takes its virtual addresses back; undoes :func:`held_elsewhere`."""
    table = vip_table(config.name)
    held = (*config.addresses, *config.floating)
    covered = {address.network for address in held}
    routes = [r for r in config.routes if not (r.table == MAIN_TABLE and r.destination in covered)]
    defaults = [r for r in routes if r.destination.prefixlen == 0 and r.table == MAIN_TABLE]
    for vip in config.floating:
        routes.append(Route(_subnet_of(vip, config), table=table, preferred_source=str(vip.ip)))
        routes += [replace(r, table=table) for r in defaults if r.destination.version == vip.version]
    rules = tuple(RoutingRule(ip_network(vip.ip), table) for vip in config.floating)
    return replace(
        config,
        addresses=held,
        floating=(),
        automatic=not held,
        routes=_first_of_each(routes),
        rules=(*config.rules, *rules),
    )


def with_member_network(config: InterfaceConfig, request: NetworkRequest) -> InterfaceConfig:
    """Return a VIP's interface whose port also is in a member network, in place of an earlier one.

    What the VIP brought stays as it is; of two routes to one destination its own counts.
    """
    vip_only = without_member_network(config)
    held = {address.ip for address in (*vip_only.addresses, *vip_only.floating)}
    addresses = tuple(fixed.address for fixed in request.fixed_ips if fixed.address.ip not in held)
    # Where the interface itself holds the VIPs, their table has to know the ways out as well.
    tables = (MAIN_TABLE, vip_table(config.name)) if vip_only.rules else (MAIN_TABLE,)
    routes = [
        *(_host_route(route, MAIN_TABLE) for fixed in request.fixed_ips for route in fixed.host_routes),
        *(
            _default_route(fixed.gateway, table)
            for fixed in request.fixed_ips
            for table in tables
            if fixed.gateway is not None
        ),
    ]
    return joined(replace(vip_only, mtu=request.mtu or vip_only.mtu), addresses, routes)


def without_member_network(config: InterfaceConfig) -> InterfaceConfig:
    """Return a VIP's interface without the member network that shares its port."""
    return replace(
        config,
        addresses=tuple(a for a in config.addresses if a not in config.shared_addresses),
        routes=tuple(route for route in config.routes if route not in config.shared_routes),
        shared_addresses=(),
        shared_routes=(),
    )


def joined(
    config: InterfaceConfig, addresses: tuple[IPInterface, ...], routes: Iterable[Route]
) -> InterfaceConfig:
    """Return a VIP's interface with addresses and routes of a member network besides."""
    all_routes = _first_of_each([*config.routes, *routes])
    return replace(
        config,
        addresses=(*config.addresses, *addresses),
        routes=all_routes,
        shared_addresses=addresses,
        shared_routes=tuple(route for route in all_routes if route not in config.routes),
    )


def without_host_routes(config: InterfaceConfig) -> InterfaceConfig:
    """Return an interface without the routes that its subnet's owner asked for."""
    return replace(
        config,
        routes=tuple(route for route in config.routes if not _is_host_route(route)),
        shared_routes=tuple(route for route in config.shared_routes if not _is_host_route(route)),
    )


def same_interface(one: InterfaceConfig, other: InterfaceConfig) -> bool:
    """Whether two configurations are equal but for the order of their lists."""
    return _unordered(one) == _unordered(other)


def _unordered(config: InterfaceConfig) -> tuple[object, ...]:
    lists = (config.addresses, config.floating, config.routes, config.rules)
    plain = replace(config, addresses=(), floating=(), routes=(), rules=())
    return (plain, *(frozenset(each) for each in lists))


def _subnet_of(vip: IPInterface, config: InterfaceConfig) -> IPNetwork:
    if vip.network.prefixlen < vip.max_prefixlen:
        return vip.network
    linked = [route.destination for route in config.routes if route.gateway is None]
    networks = [*linked, *(address.network for address in config.addresses)]
    around = [network for network in networks if vip.ip in network]
    return max(around, key=lambda network: network.prefixlen, default=vip.network)


def _is_host_route(route: Route) -> bool:
    return route.gateway is not None and route.destination.prefixlen > 0


def member_interface(name: str, request: NetworkRequest) -> InterfaceConfig:
    """Return what a member network's interface holds: no default route, since the VIP's is the one."""
    return InterfaceConfig(
        name=name,
        mac_address=request.mac_address,
        role=InterfaceRole.MEMBER,
        addresses=tuple(fixed.address for fixed in request.fixed_ips),
        automatic=not request.fixed_ips,
        mtu=request.mtu,
        routes=_first_of_each(
            _host_route(route, MAIN_TABLE) for fixed in request.fixed_ips for route in fixed.host_routes
        ),
    )


def _own_address(request: VipRequest) -> IPInterface | None:
    own = request.own_address
    if own is None:
        return None
    prefix = next((vip.subnet.prefixlen for vip in request.vips if own in vip.subnet), own.max_prefixlen)
    return ip_interface((own, prefix))


def _vip_interfaces(request: VipRequest) -> Iterator[IPInterface]:
    covered = set()
    for vip in request.vips:
        # Beside an own address a virtual one is always a single host, as keepalived adds it too.
        has_prefix = request.own_address is None and vip.subnet not in covered
        covered.add(vip.subnet)
        yield ip_interface((vip.address, vip.subnet.prefixlen if has_prefix else vip.address.max_prefixlen))


def _vip_routes(request: VipRequest, held: tuple[IPInterface, ...], table: int) -> Iterator[Route]:
    covered = {interface.network for interface in held}
    for vip in request.vips:
        if vip.subnet not in covered:
            yield Route(vip.subnet)
        yield Route(vip.subnet, table=table, preferred_source=str(vip.address))
        for where in (MAIN_TABLE, table):
            if vip.gateway is not None:
                yield _default_route(vip.gateway, where)
            for route in vip.host_routes:
                yield _host_route(route, where)


def _vip_rules(request: VipRequest, table: int) -> tuple[RoutingRule, ...]:
    sources = dict.fromkeys(ip_network(vip.address) for vip in request.vips)
    return tuple(RoutingRule(source, table) for source in sources)


def _default_route(gateway: IPAddress, table: int) -> Route:
    everywhere = ip_network("0.0.0.0/0" if gateway.version == 4 else "::/0")
    return Route(everywhere, str(gateway), table, onlink=True)


def _host_route(route: HostRoute, table: int) -> Route:
    return Route(route.destination, str(route.next_hop), table, onlink=True)


def _first_of_each(routes: Iterable[Route]) -> tuple[Route, ...]:
    # The kernel takes one route to a destination in a table: two subnets may each bring a default one.
    chosen: dict[tuple[IPNetwork, int], Route] = {}
    for route in routes:
        chosen.setdefault((route.destination, route.table), route)
    return tuple(chosen.values())
