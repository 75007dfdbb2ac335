# SPDX-License-Identifier: Apache-2.0
"""The listening socket, and accepting from it even when file descriptors run out."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket

from amphora.errors import ConfigurationError
from amphora.server.limited_log import LimitedLog
from amphora.server.lobby import Lobby

_LOG = logging.getLogger(__name__)
_BACKLOG = 1024
#: Accepted at once, so that a flood of connections cannot starve the event loop.
_BATCH = 64
_PAUSE_SECONDS = 0.2
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def open_listener(host: str, port: int) -> socket.socket:
    """Open a non-blocking listening socket.

    ``::`` accepts IPv4 as well, and becomes ``0.0.0.0`` on a kernel without IPv6.

    :param host: IP address.
    :raises ConfigurationError: it is not an address of this machine, or the port is in use.
    """
    try:
        return _open(host, port)
    except OSError as error:
        if host == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            _LOG.warning("This kernel has no IPv6: listening on IPv4 only")
            return open_listener("0.0.0.0", port)  # noqa: S104  asked for: all addresses
        raise ConfigurationError(f"Cannot listen on {host} port {port}: {error.strerror}") from None


def _open(host: str, port: int) -> socket.socket:
    family, kind, proto, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST | socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, proto)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


class Acceptor:
    """Accepts connections and hands them to the lobby. Loop thread only."""

    def __init__(self, listener: socket.socket, lobby: Lobby, log: LimitedLog) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._lobby = lobby
        self._log = log
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start accepting, or resume after a pause."""
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def stop(self) -> None:
        """Stop accepting and close the listening socket."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        for _ in range(_BATCH):
            try:
                sock, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._failed(error)
                return
            sock.setblocking(False)
            self._lobby.enter(sock, (_plain_host(address[0]), address[1]))

    def _failed(self, error: OSError) -> None:
        """Free a descriptor by dropping a connection; without one to drop, pause instead of spinning."""
        self._log.write(logging.ERROR, f"Cannot accept a connection: {error.strerror}")
        if error.errno in _EXHAUSTED and self._lobby.make_room():
            return
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(_PAUSE_SECONDS, self.start)


def _plain_host(host: str) -> str:
    """Return the IPv4 address of an IPv4 client of a dual-stack socket."""
    return host.removeprefix("::ffff:") if "." in host else host
