# SPDX-License-Identifier: Apache-2.0
"""Address translation on the interfaces of a node that serves UDP and SCTP."""

from __future__ import annotations

import logging
from collections.abc import Callable

from amphora.core.network.masquerade import IPFamily, Masquerade
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.drivers.network.base import NetworkDriver
from amphora.errors import AmphoraError

LOG = logging.getLogger(__name__)


class LvsMasquerade:
    """Translates addresses on every interface in use, once there is a listener that needs it.

    :param filters_packets: whether packet filter rules are in force, which need TCP to be tracked.
    """

    def __init__(
        self,
        masquerade: Masquerade,
        network: NetworkDriver,
        lvs: LvsDirectory,
        filters_packets: Callable[[], bool],
    ) -> None:
        self._masquerade = masquerade
        self._network = network
        self._lvs = lvs
        self._filters_packets = filters_packets

    def refresh(self) -> None:
        """Do so for interfaces that came since; it stays when the last listener goes. Never fails.

        Without it members of the listener get no traffic that they could answer.
        """
        try:
            if self._lvs.all():
                self._add_all()
        except AmphoraError as error:
            LOG.error("members of UDP and SCTP listeners may not be reachable: %s", error)

    def _add_all(self) -> None:
        is_sriov = self._filters_packets()
        for interface in self._network.interfaces():
            held = {each.version for each in interface.addresses if not each.is_link_local}
            # Loopback has no MAC address.
            for family in IPFamily if interface.mac_address else ():
                if family.version in held:
                    self._masquerade.add(family, interface.name, is_sriov=is_sriov)
