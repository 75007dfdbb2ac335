# SPDX-License-Identifier: Apache-2.0
"""IPv4 addresses from the network for interfaces that were given none."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from amphora.drivers.network.dhcp.clients import CLIENTS, Client, Command, Places
from amphora.errors import AmphoraError
from amphora.models import InterfaceConfig
from amphora.system.command import SEARCH_PATH, CommandRunner
from amphora.system.namespaces import is_inside
from amphora.system.processes import command_line, read_pid_file

LOG = logging.getLogger(__name__)

_TIMEOUT = 10.0
# A client is found again by its pid file, which it writes a moment after its start.
_START_TIMEOUT = 2.0


class DhcpClient:
    """Runs one client for each interface that wants one; its failures are logged, not raised.

    An address that comes later or not at all is the network's matter, not a failed change. Of the clients
    that images have, the first that is installed is used: dhclient, dhcpcd, udhcpc.
    """

    def __init__(
        self,
        runner: CommandRunner,
        namespace: str,
        places: Places | None = None,
        clients: Sequence[type[Client]] = CLIENTS,
    ) -> None:
        self._runner = runner
        self._namespace = namespace
        owner = namespace or os.uname().nodename
        self._clients = [client(owner, namespace, places or Places()) for client in clients]

    def follow(self, config: InterfaceConfig) -> None:
        """Run a client if the interface has automatic addresses, else end it. Safe to repeat."""
        if config.automatic:
            self.start(config)
        else:
            self.stop(config.name)

    def start(self, config: InterfaceConfig) -> None:
        """Start a client in the background unless one runs. Does not wait for an address.

        Blocks until it can be found again, for two seconds at most.
        """
        if self._process(config.name) is not None:
            return
        for client in self._clients:
            path = shutil.which(client.program, path=SEARCH_PATH)
            if path is not None:
                self._start(client, path, config)
                return
        names = ", ".join(client.program for client in self._clients)
        LOG.warning("DHCP of %s skipped: none of %s is installed", config.name, names)

    def stop(self, name: str) -> None:
        """End the client of an interface, if one runs. Safe to repeat.

        No release is sent: the server may be unreachable by now, and the lease expires.
        """
        pid = self._process(name)
        if pid is None:
            return
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # Checked again after opening: from here on the id cannot be reused by another process.
            if self._process(name) == pid and not _end(descriptor):
                LOG.error("DHCP of %s: failed to end the client, process %d", name, pid)
        finally:
            os.close(descriptor)
        self._drop_lease(name)

    def _drop_lease(self, name: str) -> None:
        # A client that is ended leaves its lease in place; only dhcpcd removes it.
        for what in (
            ("route", "flush", "dev", name, "proto", "dhcp"),
            ("address", "flush", "dev", name, "dynamic"),
        ):
            self._run(Command(("ip", "-4", *what), {}), name)

    def _start(self, client: Client, path: str, config: InterfaceConfig) -> None:
        try:
            client.prepare()
        except AmphoraError as error:
            LOG.error("DHCP of %s: failed to prepare the client: %s", config.name, error.details)
            return
        self._run(client.command(path, config), config.name)
        deadline = time.monotonic() + _START_TIMEOUT
        while self._process(config.name) is None:
            if time.monotonic() > deadline:
                LOG.error("DHCP of %s: %s ended at once", config.name, path)
                return
            time.sleep(0.01)

    def _run(self, command: Command, name: str) -> None:
        try:
            result = self._runner.run(
                command.argv, timeout=_TIMEOUT, namespace=self._namespace, environment=command.environment
            )
        except AmphoraError as error:
            LOG.error("DHCP of %s: %s", name, error.details)
            return
        if not result.succeeded:
            LOG.error("DHCP of %s: %s failed: %s", name, " ".join(result.argv), result.output.strip())

    def _process(self, name: str) -> int | None:
        """Return the id of the client that runs for an interface, or None."""
        for client in self._clients:
            for pid_file in client.pid_files(name):
                pid = read_pid_file(pid_file)
                if pid is not None and self._is_client(pid, client, name):
                    return pid
        return None

    def _is_client(self, pid: int, client: Client, name: str) -> bool:
        # The id may be another process's by now, or that of an interface of the same name elsewhere.
        words = " ".join(command_line(pid)).split()
        is_program = bool(words) and Path(words[0]).name.rstrip(":") == client.program
        return is_program and name in words and is_inside(pid, self._namespace)


def _end(descriptor: int) -> bool:
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return True
        if poller.poll(_TIMEOUT / 2 * 1000):
            return True
    return False
