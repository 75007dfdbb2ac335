# SPDX-License-Identifier: Apache-2.0
"""What a change of topology does to keepalived and to the interface that carries the shared address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Set

from amphora.core.topology import Topology
from amphora.core.workloads.vrrp import VrrpWorkload
from amphora.errors import InvalidInput, OperationFailed, VrrpActionFailed
from amphora.keepalived.rendering import PairMember, render
from amphora.models import IPAddress, Role
from amphora.system import namespaces
from amphora.system.addresses import HeldAddress, addresses_in


class Pair:
    """One node of an active-standby pair.

    :param namespace: network namespace of tenant traffic.
    :param plugged: returns the addresses that each plugged port is configured for, by its interface.
    :param advert_interval: seconds between two adverts.
    :param hand_over_vip: True: keepalived holds the shared address from now on, so take it off the
        interface and out of what a boot restores; False: the interface itself will hold it again.
    """

    def __init__(
        self,
        vrrp: VrrpWorkload,
        namespace: str,
        plugged: Callable[[], Mapping[str, Set[IPAddress]]],
        advert_interval: float,
        hand_over_vip: Callable[[bool], None],
    ) -> None:
        self._vrrp = vrrp
        self._namespace = namespace
        self._plugged = plugged
        self._advert_interval = advert_interval
        self._hand_over_vip = hand_over_vip

    def require_interface(self, topology: Topology) -> None:
        """Return if a port is plugged for the shared address, or another interface is in its network.

        :raises InvalidInput: there is none.
        """
        if self._interface_of(ipaddress.ip_address(topology.ha_ip)) is None:
            raise InvalidInput(f"Invalid ha_ip: {_missing(topology.ha_ip)}")

    def form_pair(self, topology: Topology) -> None:
        """Let keepalived hold the shared address from now on.

        A configuration that the controller has uploaded wins over the one made from the topology.

        :raises OperationFailed: no interface is in the address's network, or keepalived does not run.
        :raises InvalidConfiguration: keepalived refuses what was made from the topology.
        """
        self._vrrp.set_default(render(self._member(topology)))
        self._hand_over_vip(True)
        self._vrrp.start()

    def leave_pair(self) -> None:
        """Stop keepalived and let the interface itself hold the address from now on.

        :raises OperationFailed: it could not be done.
        """
        try:
            self._vrrp.stop()
        except VrrpActionFailed:
            # One that had died is reported as a failure once; what counts here is that it is gone.
            self._vrrp.stop()
        self._vrrp.set_default(None)
        self._hand_over_vip(False)

    def role(self) -> Role:
        """Return what keepalived is at this moment."""
        return self._vrrp.role()

    def _member(self, topology: Topology) -> PairMember:
        shared = ipaddress.ip_address(topology.ha_ip)
        held = self._interface_of(shared)
        if held is None:
            raise OperationFailed(_missing(topology.ha_ip))
        return PairMember(
            interface=held.interface,
            addresses=(ipaddress.ip_interface(f"{shared}/{held.address.network.prefixlen}"),),
            role=topology.role or Role.STANDBY,
            secret=topology.secret,
            advert_interval=self._advert_interval,
        )

    def _interface_of(self, shared: IPAddress) -> HeldAddress | None:
        """Return an address in the network of the shared one, on the interface that may carry it."""
        if not namespaces.exists(self._namespace):
            return None
        plugged = self._plugged()
        for held in addresses_in(self._namespace):
            # A port that was plugged for other addresses may be in the same network, but is not the VIP's.
            if _is_neighbour(held, shared) and shared in plugged.get(held.interface, (shared,)):
                return held
        return None


def _missing(ha_ip: str) -> str:
    return f"no interface of this amphora is configured for {ha_ip}; plug the VIP first"


def _is_neighbour(held: HeldAddress, shared: IPAddress) -> bool:
    network = held.address.network
    # An address of its own, as a VIP is, says nothing about a network.
    return network.prefixlen < network.max_prefixlen and shared in network and held.interface != "lo"
