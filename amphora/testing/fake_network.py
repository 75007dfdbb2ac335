# SPDX-License-Identifier: Apache-2.0
"""A network driver without a kernel, for tests of what stands on one."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.differences import ABSENT, link_missing
from amphora.errors import AmphoraError, NoSuchLink, StorageError
from amphora.models import Difference, DriftArea, DriftReason, Interface, InterfaceConfig

_NAME = re.compile(r"[A-Za-z0-9_-]{1,15}")


@dataclass(slots=True)
class FakeWires:
    """What outlives a driver: give the same one to two drivers to play a restart of the agent.

    :ivar plugged: MAC addresses of links in the agent's own namespace.
    :ivar active: what the data namespace holds, by name.
    :ivar stored: what is persisted, by name.
    :ivar calls: what was asked, in order: method and interface name.
    """

    plugged: set[str] = field(default_factory=set)
    active: dict[str, InterfaceConfig] = field(default_factory=dict)
    stored: dict[str, InterfaceConfig] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    arrival: threading.Condition = field(default_factory=threading.Condition)

    def plug(self, mac_address: str) -> None:
        """Make a link appear."""
        with self.arrival:
            self.plugged.add(mac_address)
            self.arrival.notify_all()

    def reboot(self) -> None:
        """Return every link to the agent's own namespace."""
        with self.arrival:
            self.plugged |= {config.mac_address for config in self.active.values()}
            self.active.clear()


class FakeNetwork(NetworkDriver):
    """Keeps the contract in memory: every step succeeds at once unless :meth:`fail_next` was called.

    :param patience: seconds to wait for a link.
    """

    def __init__(self, wires: FakeWires | None = None, patience: float = 0.0) -> None:
        self.wires = wires or FakeWires()
        self._patience = patience
        self._failures: dict[str, list[AmphoraError]] = defaultdict(list)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build a driver over wires of its own."""
        return cls()

    def fail_next(self, method: str, error: AmphoraError) -> None:
        """Make the next call of a method raise and change nothing; may be given several times.

        :raises ValueError: there is no such method.
        """
        if method not in NetworkDriver.__abstractmethods__:
            raise ValueError(method)
        self._failures[method].append(error)

    def check_available(self) -> None:
        """Return at once."""
        self._called("check_available", "")

    def persist(self, config: InterfaceConfig) -> None:
        """Remember a configuration."""
        _check_name(config.name)
        self._called("persist", config.name)
        self.wires.stored[config.name] = config

    def forget(self, name: str) -> None:
        """Forget a configuration."""
        _check_name(name)
        self._called("forget", name)
        self.wires.stored.pop(name, None)

    def stored(self) -> Sequence[InterfaceConfig]:
        """Return what is remembered."""
        return [config for _, config in sorted(self.wires.stored.items())]

    def activate(self, config: InterfaceConfig) -> None:
        """Take the link with this MAC address, once it is there."""
        self._called("activate", config.name)
        with self.wires.arrival:
            if not self.wires.arrival.wait_for(lambda: self._is_there(config.mac_address), self._patience):
                raise NoSuchLink(config.mac_address)
            self.wires.plugged.discard(config.mac_address)
            self.wires.active[config.name] = config

    def deactivate(self, name: str) -> None:
        """Give the link back."""
        self._called("deactivate", name)
        with self.wires.arrival:
            config = self.wires.active.pop(name, None)
            if config is not None:
                self.wires.plugged.add(config.mac_address)

    def interfaces(self) -> Sequence[Interface]:
        """Return loopback and what is active."""
        links = sorted(self.wires.active.values(), key=lambda config: config.name)
        active = [Interface(each.name, each.mac_address, True, each.addresses) for each in links]
        return [Interface("lo", "", True), *active]

    def differences(self) -> Sequence[Difference]:
        """Compare what is remembered with what is active: links, MTU and addresses."""
        self._called("differences", "")
        return [found for config in self.stored() for found in self._differences_of(config)]

    def _differences_of(self, config: InterfaceConfig) -> list[Difference]:
        active = self.wires.active.get(config.name)
        if active is None:
            plugged = config.mac_address in self.wires.plugged
            return link_missing(config, f"link {config.mac_address}" if plugged else "")
        if config.mtu not in (None, active.mtu):
            wanted, found = str(config.mtu), str(active.mtu)
            return [Difference(DriftArea.LINKS, config.name, DriftReason.MTU_DIFFERS, wanted, found)]
        lacking = [str(each) for each in config.addresses if each not in active.addresses]
        return [
            Difference(DriftArea.ADDRESSES, config.name, DriftReason.ADDRESS_MISSING, text, ABSENT)
            for text in lacking
        ]

    def _is_there(self, mac_address: str) -> bool:
        active = {config.mac_address for config in self.wires.active.values()}
        return mac_address in self.wires.plugged | active

    def _called(self, method: str, name: str) -> None:
        self.wires.calls.append((method, name))
        if self._failures[method]:
            raise self._failures[method].pop(0)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise StorageError(f"{name!r} is no name for an interface")
