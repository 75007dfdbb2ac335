# SPDX-License-Identifier: Apache-2.0
"""What the drivers here have in common: files of their own form, and links placed over rtnetlink(7)."""

from __future__ import annotations

import abc
import importlib.util
from collections.abc import Sequence
from pathlib import Path

from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.dhcp import DhcpClient
from amphora.drivers.network.interface_state import InterfaceState
from amphora.drivers.network.kernel import Kernel, KernelAccess
from amphora.drivers.network.link_mover import LinkMover
from amphora.drivers.network.octavia_interface_file import PLUGGED_INTERFACES, OctaviaInterfaceFiles
from amphora.errors import DriverUnavailable
from amphora.models import Difference, Interface, InterfaceConfig
from amphora.system import host, namespaces
from amphora.system.command import CommandRunner
from amphora.system.interfaces import interfaces

#: Seconds to wait for a link that the hypervisor is still plugging.
LINK_TIMEOUT = 5.0


class NetlinkNetwork(NetworkDriver):
    """Keeps a file for each interface, moves links itself, and has them configured by a subclass.

    :param directory: of all stored configurations, those of Octavia's agent included.
    :param namespace: the data namespace; empty means the agent's own.
    :param access: how the kernel is reached; tests give one that fails on purpose.
    :param timeout: seconds to wait for a link.
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
        timeout: float = LINK_TIMEOUT,
        root: str = "",
        plugged: Path = PLUGGED_INTERFACES,
    ) -> None:
        self._directory = directory
        self._files = self._files_in(directory)
        self._taken_over = OctaviaInterfaceFiles(directory, namespace, plugged)
        self._namespace = namespace
        self._runner = runner
        self._dhcp = DhcpClient(runner, namespace)
        self._mover = LinkMover(access or KernelAccess(), namespace, timeout, root)

    @abc.abstractmethod
    def _files_in(self, directory: Path) -> ConfigFiles:
        """Return the files of a directory in the form of this driver."""

    def check_available(self) -> None:
        """Return if the library is installed and this process may change interfaces."""
        if importlib.util.find_spec("pyroute2") is None:
            raise DriverUnavailable("the Python library pyroute2 is not installed")
        if not host.is_root():
            raise DriverUnavailable("interfaces can only be changed as root")

    def persist(self, config: InterfaceConfig) -> None:
        """Write the interface's file, once Octavia's list of links has it."""
        self._taken_over.remember(config)
        self._files.write(config)

    def forget(self, name: str) -> None:
        """Remove the interface's file."""
        self._files.remove(name)
        self._taken_over.remove(name)

    def stored(self) -> Sequence[InterfaceConfig]:
        """Read the files, and of Octavia's those of interfaces that have no other."""
        own = {config.name: config for config in self._files.read_all()}
        known = {config.name: config for config in self._taken_over.read_all()} | own
        return [known[name] for name in sorted(known)]

    def activate(self, config: InterfaceConfig) -> None:
        """Move the link and have it configured; a failure is rolled back."""
        namespaces.ensure(self._namespace, namespaces.DATA_SYSCTLS, self._runner)
        self._mover.place(config, lambda kernel, now, wanted: self._configure(kernel, config, now, wanted))
        self._dhcp.follow(config)

    def deactivate(self, name: str) -> None:
        """Take all off the link and give it back."""
        self._dhcp.stop(name)
        self._mover.give_back(name)

    def interfaces(self) -> Sequence[Interface]:
        """Ask the kernel through the C library."""
        return interfaces(self._namespace)

    def differences(self) -> Sequence[Difference]:
        """Compare the files with the kernel."""
        return [found for config in self.stored() for found in self._mover.differences(config)]

    @abc.abstractmethod
    def _configure(
        self, kernel: Kernel, config: InterfaceConfig, now: InterfaceState, wanted: InterfaceState
    ) -> None:
        """Bring a link that is in place from one state to the other.

        :raises OperationFailed: it could not be done; the caller undoes it.
        """


def set_sysctls(kernel: Kernel, config: InterfaceConfig) -> None:
    """Set the kernel parameters that an interface needs before it is up (ip-sysctl). Safe to repeat.

    :raises OperationFailed: one was refused.
    """
    # Without it the kernel drops all addresses of a subnet together with the first of them.
    kernel.set_sysctl(f"net/ipv4/conf/{config.name}/promote_secondaries", "1")
    # 2: also where packets are forwarded. 0: a tenant's router must not add routes of its own.
    kernel.set_sysctl(f"net/ipv6/conf/{config.name}/accept_ra", "2" if config.automatic else "0")
    kernel.set_sysctl(f"net/ipv6/conf/{config.name}/autoconf", "1" if config.automatic else "0")
