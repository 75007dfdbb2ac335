# SPDX-License-Identifier: Apache-2.0
"""Drift of virtual addresses: which node and interface should hold them, and which does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from amphora.core.changes.locks import INTERFACES, KEEPALIVED
from amphora.core.drift.inspection import ABSENT
from amphora.core.topology import TopologyKind, TopologyManager
from amphora.core.workloads.vrrp import VrrpWorkload
from amphora.drivers.network.base import NetworkDriver
from amphora.keepalived.configuration import VirtualAddress, parse
from amphora.models import Difference, DriftArea, DriftReason, InterfaceRole, IPAddress, Role
from amphora.system import files
from amphora.system.addresses import HeldAddress, addresses_in, remove_addresses


class VipInspector:
    """Single: the interface itself holds the addresses. In a pair: keepalived's state decides.

    :param namespace: network namespace of tenant traffic.
    :param activate: brings every stored interface back, as after a boot.
    """

    group = "vip"
    areas = frozenset({DriftArea.VIP})

    def __init__(
        self,
        topology: TopologyManager,
        network: NetworkDriver,
        vrrp: VrrpWorkload,
        namespace: str,
        activate: Callable[[], None],
    ) -> None:
        self._topology = topology
        self._network = network
        self._vrrp = vrrp
        self._namespace = namespace
        self._activate = activate

    def targets(self) -> tuple[str, ...]:
        """keepalived in a pair, else the interfaces; none while that is about to change."""
        if self._topology.is_changing():
            return ()
        return (
            (KEEPALIVED,) if self._topology.current().kind is TopologyKind.ACTIVE_STANDBY else (INTERFACES,)
        )

    def inspect(self, target: str) -> list[Difference]:
        """Compare with the addresses that the kernel has."""
        found = list(self._of_single() if target == INTERFACES else self._of_pair())
        return [] if self._topology.is_changing() else found

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Put addresses where they should be, and remove them where they should not."""
        if target == INTERFACES:
            self._activate()
            return "the stored interfaces were activated again"
        done = []
        surplus = [each for each in differences if each.reason is not DriftReason.VIP_MISSING]
        if surplus:
            wrong = {each.subject for each in surplus}
            held = [each for each in self._held() if str(each.address.ip) in wrong]
            remove_addresses(self._namespace, held)
            done.append(f"{', '.join(sorted(wrong))} taken off")
        if len(surplus) < len(differences) and not self._is_pending():
            done.append(str(self._vrrp.reload()))
        return "; ".join(done)

    def _of_single(self) -> Iterator[Difference]:
        configs = [each for each in self._network.stored() if each.role is InterfaceRole.VIP]
        held = self._held() if configs else ()
        for config in configs:
            for vip in (rule.source.network_address for rule in config.rules):
                yield from _misplaced(vip, config.name, held)

    def _of_pair(self) -> Iterator[Difference]:
        wanted = self._virtual_addresses()
        held = self._held() if wanted else ()
        role = self._vrrp.role()
        if role is Role.ACTIVE:
            for each in wanted:
                yield from _misplaced(each.address.ip, each.interface, held)
            return
        if role is Role.STANDBY:
            reason, desired = DriftReason.VIP_ON_STANDBY, "held by the peer"
        elif self._vrrp.status().state.is_at_rest:
            reason, desired = DriftReason.VIP_ORPHANED, "not held here, as keepalived is stopped"
        else:
            # It has just begun and reported nothing yet, or is about to be started again.
            return
        for each in wanted:
            names = [name for name in _holders_of(each.address.ip, held) if name != "lo"]
            if names:
                yield Difference(DriftArea.VIP, str(each.address.ip), reason, desired, f"on {names[0]}")

    def _virtual_addresses(self) -> list[VirtualAddress]:
        data = files.read_if_present(self._vrrp.files.running)
        found = parse(data).addresses if data is not None else ()
        return sorted(found, key=lambda each: str(each.address))

    def _held(self) -> tuple[HeldAddress, ...]:
        return addresses_in(self._namespace)

    def _is_pending(self) -> bool:
        return files.read_if_present(self._vrrp.files.proven) != self._vrrp.stored_configuration()


def _misplaced(vip: IPAddress, interface: str, held: Iterable[HeldAddress]) -> Iterator[Difference]:
    names = _holders_of(vip, held)
    if not names:
        yield Difference(DriftArea.VIP, str(vip), DriftReason.VIP_MISSING, f"on {interface}", ABSENT)
    elif interface and interface not in names:
        yield Difference(
            DriftArea.VIP, str(vip), DriftReason.VIP_ELSEWHERE, f"on {interface}", f"on {names[0]}"
        )


def _holders_of(vip: IPAddress, held: Iterable[HeldAddress]) -> list[str]:
    return [each.interface for each in held if each.address.ip == vip]
