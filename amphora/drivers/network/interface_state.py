# SPDX-License-Identifier: Apache-2.0
"""The present state of a link, the wanted one, and the steps from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from amphora.drivers.network.kernel import (
    IFA_F_PERMANENT,
    IPV6_METRIC,
    PROTOCOL_KERNEL,
    PROTOCOL_STATIC,
    SCOPE_LINK,
    SCOPE_UNIVERSE,
    Address,
    Kernel,
    Link,
    LinkRoute,
    Rule,
)
from amphora.errors import OperationFailed
from amphora.models import InterfaceConfig, IPInterface, Route

#: The protocol that keepalived gives when it adds an address (IFA_PROTO, from Linux 5.18).
_PROTOCOL_KEEPALIVED = 18

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class InterfaceState:
    """All of a link that a change may touch, and the rules of its namespace."""

    link: Link
    addresses: tuple[Address, ...] = ()
    routes: tuple[LinkRoute, ...] = ()
    rules: tuple[Rule, ...] = ()


def read_state(kernel: Kernel, index: int) -> InterfaceState:
    """Return what a link holds now.

    :raises OperationFailed: it is gone or cannot be read.
    """
    found = [link for link in kernel.links() if link.index == index]
    if not found:
        raise OperationFailed("the link is gone")
    return InterfaceState(
        found[0], tuple(kernel.addresses(index)), tuple(kernel.routes(index)), tuple(kernel.rules())
    )


def wanted_state(config: InterfaceConfig, now: InterfaceState) -> InterfaceState:
    """Return the wanted state of a link: its configuration, and all that other programs have put there.

    Those are link-local and temporary addresses, floating ones, and all routes and rules that
    are not marked as static. A rule has no interface; one counts as this link's when its table is
    used by a static route over the link.
    """
    addresses = tuple(Address(interface) for interface in config.addresses)
    routes = tuple(_link_route(route) for route in config.routes)
    rules = tuple(Rule(rule.source, rule.table, rule.priority) for rule in config.rules)
    held = [address.interface for address in addresses]
    tables = {route.table for route in (*now.routes, *routes) if route.protocol == PROTOCOL_STATIC}
    floating = {address.ip for address in config.floating}
    kept = [a for a in now.addresses if a.interface not in held and _is_foreign(a, floating)]
    return InterfaceState(
        replace(now.link, name=config.name, up=True, mtu=config.mtu or now.link.mtu),
        (*addresses, *kept),
        (*routes, *(route for route in now.routes if route.protocol != PROTOCOL_STATIC)),
        (
            *rules,
            *(r for r in now.rules if r.protocol != PROTOCOL_STATIC or r.table not in tables),
        ),
    )


def bare_state(now: InterfaceState, floating: tuple[IPInterface, ...] = ()) -> InterfaceState:
    """Return the state of a link without its configuration; up or down as it is."""
    config = InterfaceConfig(now.link.name, now.link.mac_address, floating=floating)
    return replace(wanted_state(config, now), link=now.link)


def differs(now: InterfaceState, wanted: InterfaceState) -> bool:
    """Whether a link lacks something of the wanted state, or holds something more."""
    return (
        now.link != wanted.link
        or _interfaces(now) != _interfaces(wanted)
        or set(without_kernel_routes(now.routes)) != set(without_kernel_routes(wanted.routes))
        or set(now.rules) != set(wanted.rules)
    )


def lacks(now: InterfaceState, wanted: InterfaceState) -> str:
    """Name what a link lacks of the wanted state; empty when it lacks nothing."""
    link = [] if now.link == wanted.link else ["its name, MTU or state"]
    addresses = sorted(str(interface) for interface in _interfaces(wanted) - _interfaces(now))
    routes = [f"the route to {route.destination}" for route in wanted.routes if route not in now.routes]
    rules = [f"the rule for {rule.source}" for rule in wanted.rules if rule not in now.rules]
    return ", ".join([*link, *addresses, *routes, *rules])


def change(kernel: Kernel, now: InterfaceState, wanted: InterfaceState) -> None:
    """Go from one state of a link to another; what both have is not touched.

    :raises OperationFailed: a step was refused; those before it stay done.
    """
    for step in _steps(kernel, now, wanted):
        step()


def change_as_far_as_possible(kernel: Kernel, now: InterfaceState, wanted: InterfaceState) -> list[str]:
    """Like :func:`change`, but go on past a refused step; return the errors."""
    errors: dict[str, None] = {}
    for step in _steps(kernel, now, wanted):
        try:
            step()
        except OperationFailed as error:
            errors[error.details] = None
    return list(errors)


def _steps(kernel: Kernel, now: InterfaceState, wanted: InterfaceState) -> Iterator[Callable[[], None]]:
    yield from _link_steps(kernel, now.link, wanted.link)
    # With the last address of a family the kernel drops its routes too, also those that stay configured.
    for _ in range(2 if _interfaces(now) - _interfaces(wanted) else 1):
        yield from _content_steps(kernel, now, read_state(kernel, now.link.index), wanted)


def _content_steps(
    kernel: Kernel, planned: InterfaceState, now: InterfaceState, wanted: InterfaceState
) -> Iterator[Callable[[], None]]:
    """Yield the steps that are left once the link itself is as wanted.

    Only what was there when the change was planned is taken away: since then the kernel may have given
    the link an address, and another interface, changed side by side, its rules to the namespace.
    """
    index = now.link.index
    held = {address.interface: address for address in now.addresses}
    asked = {address.interface: address for address in wanted.addresses}
    known = {address.interface for address in planned.addresses}
    old_routes, all_routes = without_kernel_routes(now.routes), without_kernel_routes(wanted.routes)
    stale_rules = [rule for rule in _only_in(now.rules, wanted.rules) if rule in planned.rules]
    stale_routes = [route for route in _only_in(old_routes, all_routes) if route in planned.routes]
    stale_addresses = [held[key] for key in _only_in(held, asked) if key in known]
    new_addresses = [asked[key] for key in _only_in(asked, held)]
    new_routes = _only_in(all_routes, old_routes)
    new_rules = [rule for rule in _only_in(wanted.rules, now.rules) if rule not in planned.rules]
    yield from (partial(kernel.change_rule, "del", rule) for rule in stale_rules)
    yield from (partial(kernel.change_route, "del", index, route) for route in stale_routes)
    yield from (partial(kernel.change_address, "del", index, address) for address in stale_addresses)
    yield from (partial(kernel.change_address, "replace", index, address) for address in new_addresses)
    yield from (
        partial(kernel.change_route, "add", index, route) for route in _only_in(new_routes, old_routes)
    )
    yield from (partial(kernel.change_rule, "add", rule) for rule in new_rules)
    if now.link.up and not wanted.link.up:
        yield partial(kernel.set_up, index, False)


def without_kernel_routes(routes: Iterable[LinkRoute]) -> list[LinkRoute]:
    """Return the routes without those that the kernel adds and drops with addresses."""
    return [route for route in routes if route.protocol != PROTOCOL_KERNEL]


def _link_steps(kernel: Kernel, now: Link, wanted: Link) -> Iterator[Callable[[], None]]:
    up = now.up
    if now.name != wanted.name:
        if up:
            yield partial(kernel.set_up, now.index, False)
        yield partial(kernel.rename, now.index, wanted.name)
        up = False
    if now.mtu != wanted.mtu:
        yield partial(kernel.set_mtu, now.index, wanted.mtu)
    if wanted.up and not up:
        # Before routes: the kernel takes none over a link that is down.
        yield partial(kernel.set_up, now.index, True)


def _only_in(these: Iterable[_T], others: Iterable[_T]) -> list[_T]:
    known = set(others)
    return [value for value in dict.fromkeys(these) if value not in known]


def _interfaces(state: InterfaceState) -> set[object]:
    return {address.interface for address in state.addresses}


def _is_foreign(address: Address, floating: Collection[object]) -> bool:
    return (
        address.interface.is_link_local
        or not address.flags & IFA_F_PERMANENT
        or address.protocol == _PROTOCOL_KEEPALIVED
        or address.interface.ip in floating
    )


def _link_route(route: Route) -> LinkRoute:
    v4 = route.destination.version == 4
    return LinkRoute(
        destination=route.destination,
        gateway=route.gateway,
        table=route.table,
        preferred_source=route.preferred_source,
        onlink=route.onlink,
        scope=SCOPE_LINK if v4 and route.gateway is None else SCOPE_UNIVERSE,
        metric=0 if v4 else IPV6_METRIC,
    )
