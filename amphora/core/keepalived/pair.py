# SPDX-License-Identifier: Apache-2.0
"""What a change of topology does to keepalived and to the interface that carries the shared address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from amphora.core.keepalived.topology import Topology
from amphora.core.keepalived.vrrp import Vrrp
from amphora.errors import OperationFailed, VrrpActionFailed
from amphora.keepalived.rendering import PairMember, render
from amphora.models import Role
from amphora.system.addresses import HeldAddress, addresses_in


class Pair:
    """One node of an active-standby pair.

    :param namespace: network namespace of tenant traffic.
    :param advert_interval: seconds between two adverts.
    :param hand_over_vip: True: keepalived holds the shared address from now on, so take it off the
        interface and out of what a boot restores; False: the interface itself is to hold it again.
    """

    def __init__(
        self, vrrp: Vrrp, namespace: str, advert_interval: float, hand_over_vip: Callable[[bool], None]
    ) -> None:
        self._vrrp = vrrp
        self._namespace = namespace
        self._advert_interval = advert_interval
        self._hand_over_vip = hand_over_vip

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
            # One that had died is told as a failure once; what counts here is that it is gone.
            self._vrrp.stop()
        self._vrrp.set_default(None)
        self._hand_over_vip(False)

    def role(self) -> Role:
        """Return what keepalived is at this moment."""
        return self._vrrp.role()

    def _member(self, topology: Topology) -> PairMember:
        shared = ipaddress.ip_address(topology.ha_ip)
        for held in addresses_in(self._namespace):
            if _is_neighbour(held, shared):
                prefix = held.address.network.prefixlen
                address = ipaddress.ip_interface(f"{shared}/{prefix}")
                return PairMember(
                    interface=held.interface,
                    addresses=(address,),
                    role=topology.role or Role.STANDBY,
                    secret=topology.secret,
                    advert_interval=self._advert_interval,
                )
        raise OperationFailed(f"no interface has an address in the network of {shared}; plug its port first")


def _is_neighbour(held: HeldAddress, shared: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = held.address.network
    # An address of its own, as a VIP is, says nothing about a network.
    return network.prefixlen < network.max_prefixlen and shared in network and held.interface != "lo"
