# SPDX-License-Identifier: Apache-2.0
"""Interfaces configured over rtnetlink(7) by the pyroute2 library, without starting a process."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.interface_state import InterfaceState, change
from amphora.drivers.network.kernel import Kernel
from amphora.drivers.network.netlink import NetlinkNetwork, set_sysctls
from amphora.drivers.network.octavia_interface_file import is_octavia_file
from amphora.drivers.network.shared_interface_file import parse, render
from amphora.models import InterfaceConfig


class Pyroute2Network(NetlinkNetwork):
    """Keeps a JSON file for each interface, as Octavia's agent can use it too; talks to the kernel itself."""

    condition = "the library is installed and this process may change interfaces"

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver on the agent's interface directory and data namespace."""
        return cls(context.interface_directory, context.namespace, context.runner)

    def _files_in(self, directory: Path) -> ConfigFiles:
        return stored_files(directory)

    def _configure(
        self, kernel: Kernel, config: InterfaceConfig, now: InterfaceState, wanted: InterfaceState
    ) -> None:
        set_sysctls(kernel, config)
        change(kernel, now, wanted)


def stored_files(directory: Path) -> ConfigFiles:
    """Return the files of a directory that this driver has written."""
    return ConfigFiles(directory, ".json", render, parse, is_octavia_file)
