# SPDX-License-Identifier: Apache-2.0
"""Drift of links, addresses, routes and rules: what is stored for the next boot against the kernel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from amphora.core.changes.locks import INTERFACES
from amphora.drivers.network.base import NetworkDriver
from amphora.models import Difference, DriftArea, DriftReason


class InterfaceInspector:
    """Asks the network driver, and has it activate what is stored again.

    :param activate: brings every stored interface back, as after a boot.
    """

    group = "interfaces"
    areas = frozenset({DriftArea.LINKS, DriftArea.ADDRESSES, DriftArea.ROUTES, DriftArea.RULES})

    def __init__(self, network: NetworkDriver, activate: Callable[[], None]) -> None:
        self._network = network
        self._activate = activate

    def targets(self) -> tuple[str, ...]:
        """All interfaces together: they share one lock."""
        return (INTERFACES,)

    def inspect(self, target: str) -> list[Difference]:
        """Compare."""
        return list(self._network.differences())

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Activate all interfaces, unless all that is wrong is that links are not attached."""
        if all(each.reason is DriftReason.LINK_MISSING for each in differences):
            return ""
        self._activate()
        return "the stored interfaces were activated again"
