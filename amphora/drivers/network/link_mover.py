# SPDX-License-Identifier: Apache-2.0
"""Moves links between the agent's own namespace and the data namespace: all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count

from amphora.drivers.network.differences import differences_of, link_missing
from amphora.drivers.network.interface_state import (
    InterfaceState,
    bare_state,
    change,
    change_as_far_as_possible,
    differs,
    read_state,
    wanted_state,
)
from amphora.drivers.network.kernel import Kernel, KernelAccess, Link, Rule
from amphora.errors import InterfaceConflict, NoSuchLink, OperationFailed
from amphora.models import Difference, InterfaceConfig
from amphora.system import namespaces
from amphora.system.interfaces import wait_for_link_event
from amphora.system.namespaces import call_inside

#: Configures a link that is in place, given the kernel, its state, and the state to reach.
Configure = Callable[[Kernel, InterfaceState, InterfaceState], None]


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where and how a link was before a change.

    :ivar rules: those of the data namespace.
    """

    namespace: str
    state: InterfaceState
    rules: tuple[Rule, ...]


class LinkMover:
    """Finds links by MAC address, puts them into the data namespace and takes them back.

    :param namespace: the data namespace; empty means the agent's own, and then nothing moves.
    :param timeout: seconds to wait for a link that the hypervisor is still plugging.
    """

    def __init__(self, access: KernelAccess, namespace: str, timeout: float, root: str = "") -> None:
        self._access = access
        self._namespace = namespace
        self._timeout = timeout
        self._root = root

    def place(self, config: InterfaceConfig, configure: Configure) -> None:
        """Move a link to where its configuration wants it and have it configured there.

        A link that holds everything already is left alone. After any error it is where and as it was.

        :raises NoSuchLink: no link with this MAC address came in time.
        :raises InterfaceConflict: the link carries traffic of the agent's own namespace.
        :raises OperationFailed: a step failed; also names what could not be rolled back, if anything.
        """
        origin = self._find(config)
        try:
            index = self._move(origin, config.name)
            self._access.inside(self._namespace, lambda kernel: _reach(kernel, index, config, configure))
        except Exception as error:
            errors = self._undo(origin, config)
            if errors:
                raise OperationFailed(
                    f"{error}; and not all could be rolled back: {'; '.join(errors)}"
                ) from error
            raise

    def give_back(self, name: str) -> None:
        """Take all off an interface, set it down and return its link to the agent's own namespace.

        Safe to repeat: an interface that is not there needs nothing.

        :raises OperationFailed: something is still there.
        """
        link = self._access.inside(self._namespace, lambda kernel: _first(kernel.links(), name=name))
        if link is None:
            return
        self._access.inside(self._namespace, lambda kernel: _strip(kernel, link.index))
        if self._namespace != self._root:
            taken = self._access.inside(self._root, lambda kernel: {each.name for each in kernel.links()})
            self._access.inside(
                self._namespace, lambda kernel: kernel.move(link.index, self._root, _free_name(name, taken))
            )

    def differences(self, config: InterfaceConfig) -> list[Difference]:
        """Return the differences between a link and its configuration, its place included. Waits for nothing.

        :raises OperationFailed: the kernel cannot be asked.
        """
        if not namespaces.exists(self._namespace):
            return link_missing(config)
        # What vanishes between two questions is found missing by the next check.
        here = self._access.inside(self._namespace, lambda kernel: _state_of(kernel, config.mac_address))
        if here is not None:
            return differences_of(config, here)
        there = self._access.inside(
            self._root, lambda kernel: _first(kernel.links(), mac_address=config.mac_address)
        )
        return link_missing(config, there.name if there else "")

    def _find(self, config: InterfaceConfig) -> _Origin:
        origin = self._observe(config.mac_address)
        if origin is None:
            origin = call_inside(
                self._root,
                lambda: wait_for_link_event(lambda: self._observe(config.mac_address), self._timeout),
            )
        if origin is None:
            raise NoSuchLink(config.mac_address)
        in_place = origin.namespace == self._namespace and origin.state.link.name == config.name
        if origin.namespace == self._root and not in_place and _carries_traffic(origin.state, config):
            raise InterfaceConflict(
                f"The interface {origin.state.link.name} with the MAC address {config.mac_address} carries "
                f"addresses of the agent's own network"
            )
        return origin

    def _observe(self, mac_address: str) -> _Origin | None:
        for namespace in dict.fromkeys((self._namespace, self._root)):
            state = self._access.inside(namespace, lambda kernel: _state_of(kernel, mac_address))
            if state is not None:
                rules = self._access.inside(self._namespace, lambda kernel: kernel.rules())
                return _Origin(namespace, state, tuple(rules))
        return None

    def _move(self, origin: _Origin, name: str) -> int:
        index = origin.state.link.index
        if origin.namespace == self._namespace:
            return index
        self._access.inside(origin.namespace, lambda kernel: kernel.move(index, self._namespace, name))
        link = self._access.inside(self._namespace, lambda kernel: _first(kernel.links(), name=name))
        if link is None:
            raise OperationFailed(f"{name} did not arrive in the namespace {self._namespace}")
        return link.index

    def _undo(self, origin: _Origin, config: InterfaceConfig) -> list[str]:
        errors: list[str] = []
        try:
            if origin.namespace != self._namespace:
                errors += self._access.inside(self._namespace, lambda kernel: _return(kernel, origin, config))
            errors += self._access.inside(origin.namespace, lambda kernel: _go_back(kernel, origin, config))
        except OperationFailed as error:
            errors.append(error.details)
        return errors


def _return(kernel: Kernel, origin: _Origin, config: InterfaceConfig) -> list[str]:
    link = origin.state.link
    here = _first(kernel.links(), mac_address=link.mac_address)
    if here is None:
        return []
    # Addresses and routes go with the move; rules belong to no link and would stay.
    now = read_state(kernel, here.index)
    bare = replace(now, rules=_former_rules(now, origin, config))
    errors = change_as_far_as_possible(kernel, now, bare)
    kernel.move(here.index, origin.namespace, link.name, link.index)
    return errors


def _go_back(kernel: Kernel, origin: _Origin, config: InterfaceConfig) -> list[str]:
    now = read_state(kernel, origin.state.link.index)
    former = replace(origin.state, rules=_former_rules(now, origin, config))
    return change_as_far_as_possible(kernel, now, former)


def _former_rules(now: InterfaceState, origin: _Origin, config: InterfaceConfig) -> tuple[Rule, ...]:
    """Return the rules of a namespace without those that a change added, and with those it deleted.

    Rules that are neither may come and go meanwhile: other interfaces change side by side.
    """
    ours = {(rule.source, rule.table, rule.priority) for rule in config.rules}
    added = {
        rule
        for rule in now.rules
        if (rule.source, rule.table, rule.priority) in ours and rule not in origin.rules
    }
    tables = {route.table for route in (*origin.state.routes, *now.routes)}
    deleted = [rule for rule in origin.rules if rule.table in tables and rule not in now.rules]
    return (*(rule for rule in now.rules if rule not in added), *deleted)


def _reach(kernel: Kernel, index: int, config: InterfaceConfig, configure: Configure) -> None:
    now = read_state(kernel, index)
    if now.link.name != config.name:
        # First, as what configures it, such as sysctls, uses its new name.
        kernel.set_up(index, False)
        kernel.rename(index, config.name)
        now = read_state(kernel, index)
    wanted = wanted_state(config, now)
    if differs(now, wanted):
        configure(kernel, now, wanted)


def _strip(kernel: Kernel, index: int) -> None:
    now = read_state(kernel, index)
    bare = bare_state(now)
    change(kernel, now, replace(bare, link=replace(bare.link, up=False)))


def _state_of(kernel: Kernel, mac_address: str) -> InterfaceState | None:
    link = _first(kernel.links(), mac_address=mac_address)
    return None if link is None else read_state(kernel, link.index)


def _first(links: Iterable[Link], *, name: str | None = None, mac_address: str | None = None) -> Link | None:
    matching = (
        link for link in links if name in (None, link.name) and mac_address in (None, link.mac_address)
    )
    # VLANs and bonds share the MAC address of the link below them, which came first.
    return min(matching, key=lambda link: link.index, default=None)


def _carries_traffic(state: InterfaceState, config: InterfaceConfig) -> bool:
    ours = {interface.ip for interface in (*config.addresses, *config.floating)}
    held = {each.interface.ip for each in state.addresses if not each.interface.is_link_local}
    return state.link.up and not held <= ours


def _free_name(preferred: str, taken: set[str]) -> str:
    if preferred not in taken:
        return preferred
    return next(name for name in (f"eth{number}" for number in count(1)) if name not in taken)
