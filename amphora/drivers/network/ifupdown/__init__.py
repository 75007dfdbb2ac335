# SPDX-License-Identifier: Apache-2.0
"""Interfaces configured by ifupdown: interfaces(5), ifup(8).

ifupdown neither moves links between namespaces nor cleans up after a command that fails, so both
are done here, over rtnetlink, as the pyroute2 driver does them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Self

from amphora.drivers.base import DriverContext
from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.ifupdown.interfaces_file import includes, parse_interfaces, render_interfaces
from amphora.drivers.network.interface_state import (
    InterfaceState,
    bare_state,
    change,
    lacks,
    read_state,
    wanted_state,
)
from amphora.drivers.network.kernel import Kernel
from amphora.drivers.network.netlink import NetlinkNetwork, set_sysctls
from amphora.drivers.network.pyroute2 import stored_files
from amphora.errors import DriverUnavailable, OperationFailed
from amphora.models import InterfaceConfig
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandRunner

_TIMEOUT = 20.0
#: Not on a disk: what is active does not outlive a reboot, and activating must not need room on one.
_RUN = Path("/run/amphora-ifupdown")


class IfupdownNetwork(NetlinkNetwork):
    """Keeps a file for each interface in the form of interfaces(5) and lets ``ifup`` carry it out.

    :param directory: of the files; ``source <directory>/*.cfg`` uses them.
    :param state_directory: of ifup's own state and of what is active, apart from what is stored.
    :param etc: holds ``network/interfaces``, for a namespace below ``netns`` (ip-netns(8)).
    :param options: of :class:`NetlinkNetwork`.
    """

    condition = "ifupdown uses the interfaces that the agent stores"

    def __init__(
        self,
        directory: Path,
        state_directory: Path,
        namespace: str,
        runner: CommandRunner,
        *,
        etc: Path = Path("/etc"),
        **options: Any,
    ) -> None:
        super().__init__(directory, namespace, runner, **options)
        self._active = self._files_in(state_directory)
        self._state_directory = state_directory
        own = etc / "netns" / namespace / "network"
        self._machine_file = (own if namespace and own.is_dir() else etc / "network") / "interfaces"

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the driver on the agent's interface directory and data namespace."""
        state_directory = _RUN / (context.namespace or "-")
        return cls(context.interface_directory, state_directory, context.namespace, context.runner)

    def check_available(self) -> None:
        """Return if ifup and the library are installed and this process may change interfaces."""
        if shutil.which("ifup", path=SEARCH_PATH) is None:
            raise DriverUnavailable("ifup is not installed")
        super().check_available()

    def objection_to_auto(self) -> str:
        """Object where interfaces(5) does not include what is stored, or pyroute2 has stored it."""
        machine = files.read_if_present(self._machine_file) or b""
        if not includes(machine.decode("utf-8", "replace"), self._machine_file, self._directory / "any.cfg"):
            return f"{self._machine_file} does not include {self._directory}/*.cfg"
        names = ", ".join(config.name for config in stored_files(self._directory).read_all())
        return f"{names} is stored by the pyroute2 driver" if names else ""

    def deactivate(self, name: str) -> None:
        """Run ``ifdown``, take off what it leaves, and give the link back."""
        path = self._active.path(name)
        if path.exists():
            # Whether it succeeds does not matter: what it leaves behind is removed next.
            self._run("ifdown", path, name)
        super().deactivate(name)
        files.remove(path)

    def _files_in(self, directory: Path) -> ConfigFiles:
        return ConfigFiles(directory, ".cfg", render_interfaces, parse_interfaces)

    def _configure(
        self, kernel: Kernel, config: InterfaceConfig, now: InterfaceState, wanted: InterfaceState
    ) -> None:
        # The link stays up: else the kernel would drop IPv6 addresses of other programs.
        change(kernel, now, bare_state(now, config.floating))
        set_sysctls(kernel, config)
        self._ifup(config)
        after = read_state(kernel, now.link.index)
        if missing := lacks(after, wanted_state(config, after)):
            raise OperationFailed(f"ifup reported success, but {config.name} lacks {missing}")

    def _ifup(self, config: InterfaceConfig) -> None:
        self._active.write(config)
        status, output = self._run("ifup", self._active.path(config.name), config.name)
        if status != 0:
            raise OperationFailed(f"ifup {config.name} failed: {output.strip()}")

    def _run(self, command: str, path: Path, name: str) -> tuple[int, str]:
        # --force: ifup's memory of what is up survives a reboot or a vanished link, and is then wrong.
        argv = (command, "--force", "-i", str(path), "--state-dir", str(self._state_directory), name)
        result = self._runner.run(argv, timeout=_TIMEOUT, namespace=self._namespace)
        return result.status, result.output
