# SPDX-License-Identifier: Apache-2.0
"""The controllers that heartbeats go to, one after the other, from the agent's own network namespace."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass

LOG = logging.getLogger(__name__)

#: Seconds between two attempts to resolve names, which is impossible early at boot.
_RETRY = 30.0
_PORTS = range(1, 65536)


@dataclass(frozen=True, slots=True)
class Destination:
    """An address to send to.

    :ivar address: as socket functions take it for its family.
    """

    family: socket.AddressFamily
    address: tuple[str, int] | tuple[str, int, int, int]


class Controllers:
    """A list of controllers, asked in turn, the first one first.

    Entries that cannot be used are logged once and skipped. Names are resolved once, by a thread of
    their own, so that a name server that is away never delays a heartbeat to the others.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        self._destinations: list[Destination | None] = []
        self._next = 0
        self._ends = threading.Event()
        names: dict[int, tuple[str, int]] = {}
        for entry in entries:
            try:
                host, port = parse_entry(entry)
            except ValueError as error:
                LOG.error("[health_manager] controller_ip_port_list: %r is skipped: %s", entry, error)
                continue
            destination = numeric_destination(host, port)
            if destination is None:
                names[len(self._destinations)] = host, port
            self._destinations.append(destination)
        if names:
            threading.Thread(
                target=self._resolve, args=(names,), name="controller-names", daemon=True
            ).start()

    def __len__(self) -> int:
        return len(self._destinations)

    def following(self) -> Destination | None:
        """Return the one whose turn it is; None if no entry can be used yet."""
        for _ in self._destinations:
            destination = self._destinations[self._next % len(self._destinations)]
            self._next += 1
            if destination is not None:
                return destination
        return None

    def close(self) -> None:
        """End what still tries to resolve names."""
        self._ends.set()

    def _resolve(self, names: dict[int, tuple[str, int]]) -> None:
        logged = False
        while not self._ends.is_set():
            for index, (host, port) in list(names.items()):
                try:
                    self._destinations[index] = _first_address(host, port)
                    del names[index]
                except (OSError, UnicodeError) as error:
                    if not logged:
                        LOG.warning("controller %s could not be resolved yet: %s", host, error)
            if not names:
                return
            logged = True
            self._ends.wait(_RETRY)


def parse_entry(entry: str) -> tuple[str, int]:
    """Return host and port of ``address:port``, ``name:port`` or ``[address]:port``.

    :raises ValueError: it has none of these forms; says why.
    """
    host, separator, port = entry.strip().rpartition(":")
    if not separator or not (port.isascii() and port.isdigit()) or int(port) not in _PORTS:
        raise ValueError("it does not end in a colon and a port")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or any(character.isspace() or character in "[]" for character in host):
        raise ValueError("it names no host")
    return host, int(port)


def numeric_destination(host: str, port: int) -> Destination | None:
    """Return the destination of a numeric address, or None if it is a name."""
    try:
        is_ipv6 = ipaddress.ip_address(host).version == 6
    except ValueError:
        return None
    if not is_ipv6:
        return Destination(socket.AF_INET, (host, port))
    try:
        # It knows the number of the interface in fe80::1%eth0.
        return _first_address(host, port, socket.AI_NUMERICHOST)
    except OSError:
        return None


def _first_address(host: str, port: int, flags: int = 0) -> Destination:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)[0]
    return Destination(family, address)  # type: ignore[arg-type]


class DatagramSender:
    """One unbound socket for each address family, made when it is first needed."""

    def __init__(self) -> None:
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}

    def send(self, datagram: bytes, destination: Destination) -> None:
        """Hand a datagram to the kernel, without waiting.

        :raises OSError: it did not leave this machine.
        """
        sender = self._sockets.get(destination.family)
        if sender is None:
            sender = socket.socket(destination.family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            sender.setblocking(False)
            self._sockets[destination.family] = sender
        sender.sendto(datagram, destination.address)

    def close(self) -> None:
        """Close the sockets. Safe to repeat."""
        for sender in self._sockets.values():
            sender.close()
        self._sockets.clear()
