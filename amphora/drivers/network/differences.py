# SPDX-License-Identifier: Apache-2.0
"""Differences between the desired and the actual state of a link. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from amphora.drivers.network.interface_state import InterfaceState, wanted_state, without_kernel_routes
from amphora.drivers.network.kernel import Link, LinkRoute, Rule
from amphora.models import Difference, DriftArea, DriftReason, InterfaceConfig

ABSENT = "absent"


def link_missing(config: InterfaceConfig, found: str = "") -> list[Difference]:
    """Return the one difference of an interface whose link is not in the data namespace.

    :param found: its name in the agent's own namespace; empty if it is not there either.
    """
    reason = DriftReason.LINK_ELSEWHERE if found else DriftReason.LINK_MISSING
    where = f"{found} in the agent's own namespace" if found else ABSENT
    return [Difference(DriftArea.LINKS, config.name, reason, f"{config.name} {config.mac_address}", where)]


def differences_of(config: InterfaceConfig, now: InterfaceState) -> list[Difference]:
    """Return the differences between a link in the data namespace and its configuration.

    What other programs and the kernel have put there is no difference.
    """
    name, wanted = config.name, wanted_state(config, now)
    asked, held = without_kernel_routes(wanted.routes), without_kernel_routes(now.routes)
    return [
        *_of_link(name, wanted.link, now.link),
        *_between(
            (DriftArea.ADDRESSES, DriftReason.ADDRESS_MISSING, DriftReason.ADDRESS_UNEXPECTED),
            name,
            [str(address.interface) for address in wanted.addresses],
            [str(address.interface) for address in now.addresses],
        ),
        *_between(
            (DriftArea.ROUTES, DriftReason.ROUTE_MISSING, DriftReason.ROUTE_UNEXPECTED),
            name,
            map(_route_text, asked),
            map(_route_text, held),
        ),
        *_between(
            (DriftArea.RULES, DriftReason.RULE_MISSING, DriftReason.RULE_UNEXPECTED),
            name,
            map(_rule_text, wanted.rules),
            map(_rule_text, now.rules),
        ),
    ]


def _of_link(name: str, wanted: Link, now: Link) -> Iterator[Difference]:
    if now.name != wanted.name:
        yield Difference(DriftArea.LINKS, name, DriftReason.LINK_RENAMED, wanted.name, now.name)
    if not now.up:
        yield Difference(DriftArea.LINKS, name, DriftReason.LINK_DOWN, "up", "down")
    if now.mtu != wanted.mtu:
        yield Difference(DriftArea.LINKS, name, DriftReason.MTU_DIFFERS, str(wanted.mtu), str(now.mtu))


def _between(
    kinds: tuple[DriftArea, DriftReason, DriftReason], name: str, wanted: Iterable[str], now: Iterable[str]
) -> Iterator[Difference]:
    area, missing, unexpected = kinds
    asked, held = dict.fromkeys(wanted), dict.fromkeys(now)
    for text in asked:
        if text not in held:
            yield Difference(area, name, missing, text, ABSENT)
    for text in held:
        if text not in asked:
            yield Difference(area, name, unexpected, ABSENT, text)


def _route_text(route: LinkRoute) -> str:
    # Every field that distinguishes two routes, in the syntax of ip-route(8).
    words = [str(route.destination)]
    words += ["via", route.gateway] if route.gateway else []
    words += ["src", route.preferred_source] if route.preferred_source else []
    words += ["table", str(route.table), "proto", str(route.protocol), "scope", str(route.scope)]
    words += ["metric", str(route.metric)] if route.metric else []
    return " ".join([*words, "onlink"] if route.onlink else words)


def _rule_text(rule: Rule) -> str:
    return f"from {rule.source} table {rule.table} priority {rule.priority} proto {rule.protocol}"
