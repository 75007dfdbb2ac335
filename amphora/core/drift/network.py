# SPDX-License-Identifier: Apache-2.0
"""Drift of the data namespace: what is stored for the next boot against what the kernel has in force."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from amphora.core.changes.locks import INTERFACES
from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.packet_filter import TABLE
from amphora.drivers.network.base import NetworkDriver
from amphora.models import Difference, DriftArea, DriftReason
from amphora.system import files


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


class RulesInspector:
    """Compares both with the rules that were proven last."""

    group = "interfaces"
    areas = frozenset({DriftArea.PACKET_FILTER})

    def __init__(self, rules: InterfaceRules) -> None:
        self._rules = rules

    def targets(self) -> tuple[str, ...]:
        """Rules are changed under the lock of all interfaces."""
        return (INTERFACES,)

    def inspect(self, target: str) -> list[Difference]:
        """Compare, unless this amphora filters nothing."""
        stored, proven = files.read_if_present(self._rules.path), self._rules.proven
        if stored is None and proven is None:
            return []
        return [*self._of_stored(stored), *self._of_kernel(stored)]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store and load again what was proven; if nothing ever was, what is right is not known."""
        if self._rules.proven is None:
            return ""
        self._rules.reinstate()
        return "the packet filter that was proven is stored and in force again"

    def _of_stored(self, stored: bytes | None) -> Iterator[Difference]:
        proven = self._rules.proven
        if proven is not None and stored != proven.text:
            reason = DriftReason.STORED_MISSING if stored is None else DriftReason.STORED_EDITED
            yield _difference(self._rules.path.name, reason, digest_of(proven.text), digest_of(stored))

    def _of_kernel(self, stored: bytes | None) -> Iterator[Difference]:
        proven, found = self._rules.proven, self._rules.in_force()
        desired = digest_of(stored) if proven is None else digest_of(proven.content)
        if found is None:
            yield _difference(TABLE, DriftReason.FILTER_MISSING, desired, ABSENT)
        elif proven is None or found != proven.content:
            yield _difference(TABLE, DriftReason.FILTER_DIFFERS, desired, digest_of(found))


def _difference(subject: str, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.PACKET_FILTER, subject, reason, desired, found)
