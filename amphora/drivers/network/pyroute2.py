# SPDX-License-Identifier: Apache-2.0
"""Interfaces configured over rtnetlink(7) by the pyroute2 library, without starting a process."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.config_format import from_json, to_json
from amphora.drivers.network.dhcp import DhcpClient
from amphora.drivers.network.interface_state import InterfaceState, change
from amphora.drivers.network.kernel import Kernel, KernelAccess
from amphora.drivers.network.placement import Placement
from amphora.drivers.network.sysctls import set_sysctls
from amphora.errors import DriverUnavailable
from amphora.models import Interface, InterfaceConfig
from amphora.system import host, namespaces
from amphora.system.command import CommandRunner
from amphora.system.interfaces import interfaces

#: Seconds to wait for a link that the hypervisor is still plugging.
LINK_PATIENCE = 5.0


class Pyroute2Network(NetworkDriver):
    """Keeps a JSON file for each interface and talks to the kernel itself.

    :param directory: of the files.
    :param namespace: the data namespace; empty means the agent's own.
    :param access: how the kernel is reached; tests give one that fails on purpose.
    :param patience: seconds to wait for a link.
    :param root: the namespace that links are plugged into; empty, the agent's own, but in tests.
    """

    def __init__(
        self,
        directory: Path,
        namespace: str,
        runner: CommandRunner,
        *,
        access: KernelAccess | None = None,
        patience: float = LINK_PATIENCE,
        root: str = "",
    ) -> None:
        self._files = ConfigFiles(directory, ".json", lambda config: to_json(config) + "\n", from_json)
        self._namespace = namespace
        self._runner = runner
        self._dhcp = DhcpClient(runner, namespace)
        self._placement = Placement(access or KernelAccess(), namespace, patience, root)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver on the agent's interface directory and data namespace."""
        return cls(context.interface_directory, context.namespace, context.runner)

    def check_available(self) -> None:
        """Return if the library is installed and this process may change interfaces."""
        if importlib.util.find_spec("pyroute2") is None:
            raise DriverUnavailable("the Python library pyroute2 is not installed")
        if not host.is_root():
            raise DriverUnavailable("interfaces can only be changed as root")

    def persist(self, config: InterfaceConfig) -> None:
        """Write the interface's file."""
        self._files.write(config)

    def forget(self, name: str) -> None:
        """Remove the interface's file."""
        self._files.remove(name)

    def stored(self) -> Sequence[InterfaceConfig]:
        """Read the files."""
        return self._files.read_all()

    def activate(self, config: InterfaceConfig) -> None:
        """Move and configure the link, step by step, each step undone if a later one fails."""
        namespaces.ensure(self._namespace, namespaces.DATA_SYSCTLS, self._runner)

        def configure(kernel: Kernel, now: InterfaceState, wanted: InterfaceState) -> None:
            set_sysctls(kernel, config)
            change(kernel, now, wanted)

        self._placement.place(config, configure)
        self._dhcp.follow(config)

    def deactivate(self, name: str) -> None:
        """Take all off the link and give it back."""
        self._dhcp.stop(name)
        self._placement.give_back(name)

    def interfaces(self) -> Sequence[Interface]:
        """Ask the kernel through the C library."""
        return interfaces(self._namespace)
