# SPDX-License-Identifier: Apache-2.0
"""Interfaces configured over rtnetlink(7) by the pyroute2 library, without starting a process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.interface_state import InterfaceState, change
from amphora.drivers.network.kernel import Kernel, KernelAccess
from amphora.drivers.network.netlink import LINK_PATIENCE, NetlinkNetwork, Surroundings
from amphora.drivers.network.octavia_interface_file import PLUGGED_INTERFACES, is_octavia_file
from amphora.drivers.network.shared_interface_file import parse, render
from amphora.drivers.network.sysctls import set_sysctls
from amphora.models import InterfaceConfig
from amphora.system.command import CommandRunner


class Pyroute2Network(NetlinkNetwork):
    """Keeps a JSON file for each interface, as Octavia's agent can use it too; talks to the kernel itself.

    :param directory: of the files.
    :param namespace: the data namespace; empty means the agent's own.
    :param access: how the kernel is reached; tests give one that fails on purpose.
    :param patience: seconds to wait for a link.
    :param root: the namespace that links are plugged into; empty, the agent's own, but in tests.
    :param plugged: where Octavia's agent lists the links that it has plugged.
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
        plugged: Path = PLUGGED_INTERFACES,
    ) -> None:
        files = ConfigFiles(directory, ".json", render, parse, is_octavia_file)
        surroundings = Surroundings(access or KernelAccess(), patience, root, plugged)
        super().__init__(directory, files, namespace, runner, surroundings)

    condition = "the library is installed and this process may change interfaces"

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver on the agent's interface directory and data namespace."""
        return cls(context.interface_directory, context.namespace, context.runner)

    def _configure(
        self, kernel: Kernel, config: InterfaceConfig, now: InterfaceState, wanted: InterfaceState
    ) -> None:
        set_sysctls(kernel, config)
        change(kernel, now, wanted)
