# SPDX-License-Identifier: Apache-2.0
"""IPv4 addresses from the network for interfaces that were given none: ISC dhclient(8)."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

from amphora.errors import AmphoraError
from amphora.models import InterfaceConfig
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandRunner
from amphora.system.processes import command_line, read_pid_file

LOG = logging.getLogger(__name__)

_TIMEOUT = 10.0

#: No routers and no name servers: a tenant's network must not steer the agent's VM.
_CONFIGURATION = "request subnet-mask, broadcast-address, interface-mtu, rfc3442-classless-static-routes;\n"
_CLASSLESS_ROUTES = "option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;\n"

#: Debian's and Red Hat's directories of leases; mandatory access control allows no others.
_LEASES = (Path("/var/lib/dhcp"), Path("/var/lib/dhclient"))


class DhcpClient:
    """Runs one dhclient for each interface that wants one; its failures are logged, not raised.

    An address that comes later or not at all is the network's matter, not a failed change.

    :param run_directory: of pid and configuration files.
    """

    def __init__(self, runner: CommandRunner, namespace: str, run_directory: Path = Path("/run")) -> None:
        self._runner = runner
        self._namespace = namespace
        self._run_directory = run_directory

    def follow(self, config: InterfaceConfig) -> None:
        """Run a client exactly if the interface is to get addresses by itself. Safe to repeat."""
        if config.automatic:
            self.start(config.name)
        else:
            self.stop(config.name)

    def start(self, name: str) -> None:
        """Start a client in the background unless one runs. Does not wait for an address."""
        client = shutil.which("dhclient", path=SEARCH_PATH)
        if client is None:
            LOG.warning("%s gets no IPv4 address by DHCP: dhclient is not installed", name)
            return
        if self._is_running(name):
            return
        leases = next((path for path in _LEASES if path.is_dir()), self._run_directory)
        try:
            configuration = self._run_directory / f"dhclient-{name}.conf"
            files.write_atomically(configuration, (_CLASSLESS_ROUTES + _CONFIGURATION).encode(), 0o644)
            arguments = ("-cf", str(configuration), "-lf", str(leases / f"dhclient-{name}.leases"))
            self._run(client, "-4", "-nw", "-pf", str(self._pid_file(name)), *arguments, name)
        except AmphoraError as error:
            LOG.error("%s gets no IPv4 address by DHCP: %s", name, error.details)

    def stop(self, name: str) -> None:
        """End the client of an interface, if one runs. Safe to repeat."""
        if not self._is_running(name):
            return
        try:
            # -x ends the client without telling the server, which may be out of reach by now.
            self._run("dhclient", "-4", "-x", "-pf", str(self._pid_file(name)), name)
        except AmphoraError as error:
            LOG.error("the DHCP client of %s could not be ended: %s", name, error.details)

    def _run(self, *argv: str) -> None:
        result = self._runner.run(argv, timeout=_TIMEOUT, namespace=self._namespace)
        if not result.succeeded:
            LOG.error("%s failed: %s", " ".join(argv), result.output.strip())

    def _is_running(self, name: str) -> bool:
        pid_file = self._pid_file(name)
        pid = read_pid_file(pid_file)
        # The id may be another process's by now.
        return pid is not None and str(pid_file) in command_line(pid)

    def _pid_file(self, name: str) -> Path:
        # Namespaces share the directory, and each may have an eth2.
        return self._run_directory / f"dhclient-{self._namespace or os.uname().nodename}-{name}.pid"
