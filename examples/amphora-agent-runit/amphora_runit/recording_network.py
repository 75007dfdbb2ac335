# SPDX-License-Identifier: Apache-2.0
"""A network driver that only records: for machines whose network another program configures.

It keeps the part of the contract that is about storing and asking, and changes no link.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.config_format import from_json, to_json
from amphora.drivers.network.differences import link_missing
from amphora.errors import NoSuchLink
from amphora.models import Difference, Interface, InterfaceConfig
from amphora.system import files, interfaces

#: Seconds to wait for a link: the hypervisor attaches it while the request is on its way.
LINK_PATIENCE = 5.0


class RecordingNetwork(NetworkDriver):
    """Stores configurations, writes a line for each thing it was asked to do, and does not do it.

    :param directory: of the configurations, one file for each interface, and of ``record.jsonl``.
    :param patience: seconds to wait for a link.
    """

    def __init__(self, directory: Path, patience: float = LINK_PATIENCE) -> None:
        self.record = directory / "record.jsonl"
        self._stored = ConfigFiles(directory, ".json", to_json, from_json)
        self._directory = directory
        self._patience = patience
        self._lock = threading.Lock()
        # In memory only: after a restart nothing is active until the agent has restored it.
        self._active: dict[str, InterfaceConfig] = {}

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver over its own directory of state."""
        return cls(context.state_directory)

    def check_available(self) -> None:
        """Return at once: it needs nothing."""

    def persist(self, config: InterfaceConfig) -> None:
        """See the contract."""
        self._stored.write(config)
        self._note("persist", config.name)

    def forget(self, name: str) -> None:
        """See the contract."""
        self._stored.remove(name)
        self._note("forget", name)

    def stored(self) -> Sequence[InterfaceConfig]:
        """See the contract."""
        return self._stored.read_all()

    def activate(self, config: InterfaceConfig) -> None:
        """See the contract, but for the link itself, which must be there and is left as it is."""
        if not interfaces.wait_for_link_event(lambda: _has_link(config.mac_address), self._patience):
            raise NoSuchLink(config.mac_address)
        self._note("activate", config.name)
        with self._lock:
            self._active[config.name] = config

    def deactivate(self, name: str) -> None:
        """See the contract."""
        self._note("deactivate", name)
        with self._lock:
            self._active.pop(name, None)

    def interfaces(self) -> Sequence[Interface]:
        """Return loopback and what was activated, as if it had been."""
        with self._lock:
            active = [config for _, config in sorted(self._active.items())]
        links = [Interface(each.name, each.mac_address, True, each.addresses) for each in active]
        return [Interface("lo", "", True), *links]

    def differences(self) -> Sequence[Difference]:
        """Return what is stored and was not activated; what links hold is not its concern."""
        with self._lock:
            active = set(self._active)
        waiting = (config for config in self.stored() if config.name not in active)
        return [found for config in waiting for found in link_missing(config)]

    def _note(self, action: str, name: str) -> None:
        line = json.dumps({"action": action, "interface": name}) + "\n"
        with self._lock:
            files.ensure_directory(self._directory)
            if files.read_if_present(self.record) is None:
                files.write_atomically(self.record, b"")
            files.append_durably(self.record, line.encode())


def _has_link(mac_address: str) -> bool | None:
    return any(each.mac_address == mac_address for each in interfaces.interfaces()) or None
