# SPDX-License-Identifier: Apache-2.0
"""Plugging ports that the hypervisor has attached to this amphora."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Protocol

from amphora.core.changes.locks import INTERFACES, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.network.interface_plan import (
    held_elsewhere,
    held_here,
    joined,
    member_interface,
    same_interface,
    vip_interface,
    with_member_network,
    without_member_network,
)
from amphora.core.network.plug_change import PlugChange, settle_plugs
from amphora.core.network.plug_requests import NetworkRequest, VipRequest
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import (
    AmphoraError,
    ChangeFailed,
    InterfaceConflict,
    NoSuchLink,
    OperationFailed,
    PlugFailed,
)
from amphora.models import Interface, InterfaceConfig, InterfaceRole, IPAddress, IPInterface
from amphora.system import files

LOG = logging.getLogger(__name__)

_FIRST_NUMBER = {InterfaceRole.VIP: 1, InterfaceRole.MEMBER: 2}
_WHAT = {InterfaceRole.VIP: "VIP", InterfaceRole.MEMBER: "Port"}


class Advertise(Protocol):
    """Sends gratuitous ARP or an unsolicited NA for an address of an interface; raises OperationFailed."""

    def __call__(self, address: IPAddress, interface: str, mac_address: str, /) -> None:
        """Send it once."""


@dataclass(frozen=True, slots=True)
class PluggedInterface:
    """A port in use.

    :ivar addresses: what it holds now, link-local ones left out.
    :ivar awaits_addresses: it was given none and the network has not given it one yet.
    :ivar was_there: its link was in the data namespace before.
    """

    name: str
    mac_address: str
    addresses: tuple[IPInterface, ...]
    awaits_addresses: bool
    was_there: bool = False


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a port is, or will be.

    :ivar known: its present configuration if it is in use already.
    :ivar is_there: its link is in the data namespace already.
    """

    name: str
    known: InterfaceConfig | None
    is_there: bool


def changing_interfaces(base_path: Path) -> AbstractContextManager[None]:
    """Keep other processes, the agent or a command, from changing interfaces within a ``with`` block.

    :raises Busy: another process still does after 40 s.
    """
    return files.exclusive_lock(base_path / "interfaces.lock", 40.0)


class Plug:
    """Plugs ports, one at a time, and finds interfaces by their addresses.

    :param locks: those of the whole core.
    :param vip_is_ours: whether the interface itself holds the virtual addresses now, as in a single
        amphora; else keepalived does.
    :param advertise: called for each virtual address that the interface itself holds, and for each
        fixed one of a member's port.
    :param guard: loads packet filter rules for an interface that no security group protects, by its name,
        while it is not up yet.
    :param look_for_links: makes the machine search for links that it has not noticed; called when one
        did not appear.
    :param exclusive: keeps other processes from changing interfaces meanwhile; raises Busy.
    """

    def __init__(
        self,
        network: NetworkDriver,
        locks: InstanceLocks,
        operations: Operations,
        *,
        vip_is_ours: Callable[[], bool],
        advertise: Advertise,
        guard: Callable[[str], None] = lambda _interface: None,
        look_for_links: Callable[[], None] = lambda: None,
        exclusive: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._network = network
        self._locks = locks
        self._operations = operations
        self._vip_is_ours = vip_is_ours
        self._advertise = advertise
        self._guard = guard
        self._look_for_links = look_for_links
        self._exclusive = exclusive
        self._plugs = SingleFlight[PluggedInterface]()

    def plug_vip(self, request: VipRequest) -> PluggedInterface:
        """Configure the port of a VIP. The same again changes nothing and is not an error.

        All or nothing: after an error the port is where and as it was.

        :raises NoSuchLink: the port did not appear in time; ask again later.
        :raises InterfaceConflict: the port is in use for something else, or holds other addresses.
        :raises PlugFailed: it could not be configured.
        :raises Busy: another plug took too long.
        """
        return self._plugs.join(request, lambda: self._plug_vip(request))

    def plug_network(self, request: NetworkRequest) -> PluggedInterface:
        """Configure the port of a member network, or give one that is in use new addresses.

        A port that it shares with a VIP keeps all that it holds for that. All or nothing: after an error
        the port is where and as it was.

        :raises NoSuchLink: the port did not appear in time; ask again later.
        :raises InterfaceConflict: the port is a VIP's and may not be shared, or the agent's own.
        :raises PlugFailed: it could not be configured.
        :raises Busy: another plug took too long.
        """
        return self._plugs.join(request, lambda: self._plug_network(request))

    def announce(self, addresses: Iterable[IPAddress]) -> None:
        """Send gratuitous ARP/NA for virtual addresses, as far as the interfaces themselves hold them.

        Never fails: neighbours can resolve the addresses themselves.
        """
        if not self._vip_is_ours():
            return
        wanted = {address for address in addresses if not address.is_loopback}
        try:
            interfaces = self._network.interfaces() if wanted else ()
        except AmphoraError as error:
            LOG.warning("could not send gratuitous ARP/NA for the VIPs: %s", error)
            return
        for interface in interfaces:
            held = [address.ip for address in interface.addresses if address.ip in wanted]
            self._advertise_all(
                held, PluggedInterface(interface.name, interface.mac_address, interface.addresses, False)
            )

    def recover(self) -> None:
        """Restore every port that was plugged, as after a boot, and send gratuitous ARP/NA for the VIPs.

        Called once, at start; safe to repeat.

        :raises OperationFailed: names every port that could not be restored; the others are.
        """
        with self._changing():
            try:
                self._network.restore()
            finally:
                settle_plugs(self._network, self._operations)
                if self._vip_is_ours():
                    for config in self._network.stored():
                        self._advertise_all((vip.ip for vip in config.floating), self._plugged(config))

    def hand_over_vip(self, to_keepalived: bool) -> None:
        """Let keepalived hold the virtual addresses from now on, or the interfaces themselves again.

        Holds for boots to come too. Safe to repeat; without a VIP plugged it does nothing.

        :raises PlugFailed: an interface could not be changed; it is as it was, except that it holds the
            addresses that keepalived has released.
        :raises Busy: a plug took too long.
        """
        change = held_elsewhere if to_keepalived else held_here
        with self._changing():
            for former in self._network.stored():
                if former.role is InterfaceRole.VIP:
                    place = _Place(former.name, former, is_there=True)
                    try:
                        plugged = self._take_into_use(change(former), place)
                    except AmphoraError:
                        if not to_keepalived:
                            self._hold_meanwhile(former)
                        raise
                    if not to_keepalived:
                        self._advertise_all((vip.ip for vip in former.floating), plugged)

    def configured(self) -> dict[str, frozenset[IPAddress]]:
        """Return what each port is configured for, even if held elsewhere now. Never forks or waits."""
        return {
            config.name: frozenset(address.ip for address in (*config.addresses, *config.floating))
            for config in self._network.stored()
        }

    def interface_for_address(self, address: IPAddress) -> str | None:
        """Return the name of the interface that holds an address now, or None. Never forks or waits."""
        for interface in self._network.interfaces():
            if any(held.ip == address for held in interface.addresses):
                return interface.name
        return None

    def _plug_vip(self, request: VipRequest) -> PluggedInterface:
        with self._changing():
            place = self._place(request.mac_address, InterfaceRole.VIP)
            here, known = vip_interface(place.name, request), place.known
            if known is not None and not same_interface(here, held_here(without_member_network(known))):
                raise InterfaceConflict(f"{place.name} holds another VIP already")
            config = self._in_force(here)
            if known is not None:
                config = joined(config, known.shared_addresses, known.shared_routes)
            if request.is_sriov:
                try:
                    self._guard(place.name)
                except OperationFailed as error:
                    raise PlugFailed(_WHAT[InterfaceRole.VIP], error.details) from error
            plugged = self._take_into_use(config, place)
            if self._vip_is_ours():
                self._advertise_all((vip.address for vip in request.vips), plugged)
            return plugged

    def _plug_network(self, request: NetworkRequest) -> PluggedInterface:
        with self._changing():
            place = self._place(request.mac_address, InterfaceRole.MEMBER, request.shares_vip_port)
            vip = self._vip_on(place, request)
            member = member_interface(place.name, request)
            plugged = self._take_into_use(with_member_network(vip, request) if vip else member, place)
            self._advertise_all((fixed.address.ip for fixed in request.fixed_ips), plugged)
            return plugged

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._locks.hold(INTERFACES), self._exclusive():
            yield

    def _place(self, mac_address: str, role: InterfaceRole, shares_vip_port: bool = False) -> _Place:
        """Return where a port is already, or will be."""
        present = {interface.name: interface for interface in self._network.interfaces()}
        stored = {config.name: config for config in self._network.stored()}
        there = next((each for each in present.values() if each.mac_address == mac_address), None)
        known = next((each for each in stored.values() if each.mac_address == mac_address), None)
        if there is None:
            # What is stored for a port that is not here is of an interrupted plug. Other programs know the
            # name of a VIP's port, so one that is gone does not keep it.
            taken = present if role is InterfaceRole.VIP else {**present, **stored}
            name = known.name if known else _free_name(set(taken), _FIRST_NUMBER[role])
            return _Place(name, None, is_there=False)
        if known is None and _reachable(there) and not shares_vip_port:
            raise InterfaceConflict(f"{there.name} has addresses that this agent did not give it")
        shared = shares_vip_port and known is not None and known.role is InterfaceRole.VIP
        if known is not None and known.role is not role and not shared:
            raise InterfaceConflict(f"{there.name} is in use as {_WHAT[known.role]}")
        return _Place(there.name, known, is_there=True)

    def _vip_on(self, place: _Place, request: NetworkRequest) -> InterfaceConfig | None:
        """Return the VIP's interface that a member network shares the port of, or None."""
        if place.known is not None:
            return place.known if place.known.role is InterfaceRole.VIP else None
        if place.is_there and request.vip is not None:
            return self._in_force(vip_interface(place.name, request.vip))
        return None

    def _in_force(self, here: InterfaceConfig) -> InterfaceConfig:
        return here if self._vip_is_ours() else held_elsewhere(here)

    def _take_into_use(self, config: InterfaceConfig, place: _Place) -> PluggedInterface:
        change = PlugChange(self._network, config, place.known, place.is_there)
        try:
            change.make(self._operations)
        except NoSuchLink:
            self._look_for_links()
            raise
        except ChangeFailed as error:
            raise PlugFailed(_WHAT[config.role], error.reason) from error
        return replace(self._plugged(config), was_there=place.is_there)

    def _hold_meanwhile(self, former: InterfaceConfig) -> None:
        """Let an interface hold its VIPs without storing that, since keepalived has ended already."""
        config = held_here(former)
        try:
            self._network.activate(config)
        except AmphoraError as error:
            LOG.error("no interface holds the VIPs of %s: %s", config.name, error)
        else:
            self._advertise_all((vip.ip for vip in former.floating), self._plugged(config))

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
                LOG.warning("could not send gratuitous ARP/NA for %s: %s", address, error)


def _reachable(interface: Interface) -> tuple[IPInterface, ...]:
    return tuple(address for address in interface.addresses if not address.is_link_local)


def _free_name(taken: set[str], first: int) -> str:
    return next(name for name in (f"eth{number}" for number in count(first)) if name not in taken)
