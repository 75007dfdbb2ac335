# SPDX-License-Identifier: Apache-2.0
"""Sends datagrams from the agent's own network namespace."""

from __future__ import annotations

import socket

from amphora.health.controllers import Destination


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
