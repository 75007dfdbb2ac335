# SPDX-License-Identifier: Apache-2.0
"""Plugging ports that the hypervisor has attached to this amphora."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from amphora.core.interface_plan import (
    held_elsewhere,
    held_here,
    member_interface,
    same_interface,
    vip_interface,
)
from amphora.core.locks import INTERFACES, InstanceLocks
from amphora.core.plug_requests import IPAddress, IPInterface, NetworkRequest, VipRequest
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import (
    AmphoraError,
    InterfaceConflict,
    NoSuchLink,
    OperationFailed,
    PlugFailed,
    StorageError,
)
from amphora.models import Interface, InterfaceConfig, InterfaceRole

LOG = logging.getLogger(__name__)

_FIRST_NUMBER = {InterfaceRole.VIP: 1, InterfaceRole.MEMBER: 2}
_WHAT = {InterfaceRole.VIP: "VIP", InterfaceRole.MEMBER: "Port"}


class Advertise(Protocol):
    """Tells neighbours that an address is at this interface; raises OperationFailed."""

    def __call__(self, address: IPAddress, interface: str, mac_address: str, /) -> None:
        """Send it once."""


@dataclass(frozen=True, slots=True)
class PluggedInterface:
    """A port in use.

    :ivar addresses: what it holds now, link-local ones left out.
    :ivar awaits_addresses: it was given none and the network has not given it one yet.
    """

    name: str
    mac_address: str
    addresses: tuple[IPInterface, ...]
    awaits_addresses: bool


class Plug:
    """Plugs ports, one at a time, and finds interfaces by their addresses.

    :param locks: those of the whole core.
    :param vip_is_ours: whether the interface itself holds the virtual addresses now, as in a single
        amphora; else keepalived does.
    :param advertise: called for each virtual address that the interface itself holds.
    """

    def __init__(
        self,
        network: NetworkDriver,
        locks: InstanceLocks,
        *,
        vip_is_ours: Callable[[], bool],
        advertise: Advertise,
    ) -> None:
        self._network = network
        self._locks = locks
        self._vip_is_ours = vip_is_ours
        self._advertise = advertise

    def plug_vip(self, request: VipRequest) -> PluggedInterface:
        """Take the port of a VIP into use. The same again changes nothing and is no error.

        All or nothing: after an error the port is where and as it was.

        :raises NoSuchLink: the port did not appear in time; ask again later.
        :raises InterfaceConflict: the port is in use for something else, or holds other addresses.
        :raises PlugFailed: it could not be configured.
        :raises Busy: another plug took too long.
        """
        with self._locks.hold(INTERFACES):
            ours = self._vip_is_ours()
            name, known = self._place(request.mac_address, InterfaceRole.VIP)
            here = vip_interface(name, request)
            if known is not None and not same_interface(here, held_here(known)):
                raise InterfaceConflict(f"{name} holds another VIP already")
            plugged = self._take_into_use(here if ours else held_elsewhere(here), known)
            if ours:
                self._advertise_all((vip.address for vip in request.vips), plugged)
            return plugged

    def plug_network(self, request: NetworkRequest) -> PluggedInterface:
        """Take the port of a member network into use, or give one that is in use new addresses.

        All or nothing: after an error the port is where and as it was.

        :raises NoSuchLink: the port did not appear in time; ask again later.
        :raises InterfaceConflict: the port is a VIP's, or the agent's own.
        :raises PlugFailed: it could not be configured.
        :raises Busy: another plug took too long.
        """
        with self._locks.hold(INTERFACES):
            name, known = self._place(request.mac_address, InterfaceRole.MEMBER)
            return self._take_into_use(member_interface(name, request), known)

    def recover(self) -> None:
        """Bring back every port that was plugged, as after a boot, and tell neighbours where the VIPs are.

        Called once, at start; safe to repeat.

        :raises OperationFailed: names every port that could not be brought back; the others are.
        """
        with self._locks.hold(INTERFACES):
            try:
                self._network.restore()
            finally:
                if self._vip_is_ours():
                    for config in self._network.stored():
                        self._advertise_all((vip.ip for vip in config.floating), self._plugged(config))

    def hand_over_vip(self, to_keepalived: bool) -> None:
        """Let keepalived hold the virtual addresses from now on, or the interfaces themselves again.

        Holds for boots to come too. Safe to repeat; without a VIP plugged it does nothing.

        :raises PlugFailed: an interface could not be changed; it is as it was.
        :raises Busy: a plug took too long.
        """
        change = held_elsewhere if to_keepalived else held_here
        with self._locks.hold(INTERFACES):
            for former in self._network.stored():
                if former.role is InterfaceRole.VIP:
                    config = change(former)
                    plugged = self._take_into_use(config, former)
                    if not to_keepalived:
                        self._advertise_all((vip.ip for vip in former.floating), plugged)

    def interface_for_address(self, address: IPAddress) -> str | None:
        """Return the name of the interface that holds an address now, or None. Never forks or waits."""
        for interface in self._network.interfaces():
            if any(held.ip == address for held in interface.addresses):
                return interface.name
        return None

    def _place(self, mac_address: str, role: InterfaceRole) -> tuple[str, InterfaceConfig | None]:
        """Return the name for a port, and its present configuration where it is in use already."""
        present = {interface.name: interface for interface in self._network.interfaces()}
        stored = {config.name: config for config in self._network.stored()}
        there = next((each for each in present.values() if each.mac_address == mac_address), None)
        known = next((each for each in stored.values() if each.mac_address == mac_address), None)
        if there is None:
            # What is stored for a port that is not here was of a plug that an end of the agent cut off.
            return known.name if known else _free_name({*present, *stored}, _FIRST_NUMBER[role]), None
        if known is None and _reachable(there):
            raise InterfaceConflict(f"{there.name} has addresses that this agent did not give it")
        if known is not None and known.role is not role:
            raise InterfaceConflict(f"{there.name} is in use as {_WHAT[known.role]}")
        return there.name, known

    def _take_into_use(self, config: InterfaceConfig, former: InterfaceConfig | None) -> PluggedInterface:
        # Stored first: a crash right after leaves an amphora that completes the plug when it starts.
        try:
            self._network.persist(config)
            self._network.activate(config)
        except (NoSuchLink, InterfaceConflict):
            self._store_again(config.name, former)
            raise
        except OperationFailed as error:
            self._store_again(config.name, former)
            raise PlugFailed(_WHAT[config.role], error.details) from error
        return self._plugged(config)

    def _store_again(self, name: str, former: InterfaceConfig | None) -> None:
        try:
            if former is None:
                self._network.forget(name)
            else:
                self._network.persist(former)
        except StorageError as error:
            LOG.error("the stored configuration of %s may be that of a failed plug: %s", name, error)

    def _plugged(self, config: InterfaceConfig) -> PluggedInterface:
        interfaces = {interface.name: interface for interface in self._network.interfaces()}
        found = interfaces.get(config.name)
        held = _reachable(found) if found else ()
        return PluggedInterface(config.name, config.mac_address, held, config.automatic and not held)

    def _advertise_all(self, addresses: Iterable[IPAddress], plugged: PluggedInterface) -> None:
        for address in addresses:
            try:
                self._advertise(address, plugged.name, plugged.mac_address)
            except AmphoraError as error:
                LOG.warning("neighbours learn of the VIP later: %s", error)


def _reachable(interface: Interface) -> tuple[IPInterface, ...]:
    return tuple(address for address in interface.addresses if not address.is_link_local)


def _free_name(taken: set[str], first: int) -> str:
    return next(name for name in (f"eth{number}" for number in count(first)) if name not in taken)
