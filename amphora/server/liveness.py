# SPDX-License-Identifier: Apache-2.0
"""Checks whether the server would serve a new client, by connecting to it as one."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any

from amphora.errors import OperationFailed
from amphora.server.lobby import Address, Lobby

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  replaced, not listened on
#: The listening address is no longer this machine's, which a restart would not mend.
_ADDRESS_GONE = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


class Liveness:
    """Checks a running server from a thread that is not its own.

    A check connects to the server's own port and starts a handshake without a client certificate, until the
    server refuses it for that: so listening socket, acceptor, lobby, TLS context and event loop all work. It
    then runs a job on the threads for reading requests. That needs no credentials, and no request is logged.

    :param listener: the listening socket.
    :param work: runs a job on the application's threads.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        lobby: Lobby,
        work: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._loop = loop
        self._family = listener.family
        host, *self._rest = listener.getsockname()
        self._host = _WILDCARDS.get(host, host)
        self._lobby = lobby
        self._work = work
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # In TLS 1.3 the client's handshake ends before the server asks for its certificate, so this refusal
        # cannot be confused with a server that has no certificate itself.
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.check_hostname = False
        # The peer is this process; clients verify its certificate.
        self._context.verify_mode = ssl.CERT_NONE

    def check(self, timeout: float) -> None:
        """Return if the server serves. May be repeated, never by two threads at once.

        :param timeout: seconds for all of it.
        :raises OperationFailed: one sentence on what does not work.
        """
        deadline = time.monotonic() + timeout
        with socket.socket(self._family, socket.SOCK_STREAM) as client:
            address = self._bind(client)
            if address is None:
                self._await_work(deadline)
                return
            with self._lobby.expecting(address):
                self._shake_hands(client, deadline)
                # Also waits until the loop has noticed the end of the connection.
                self._await_work(deadline)

    def _bind(self, client: socket.socket) -> Address | None:
        _port, *scope = self._rest
        try:
            client.bind((self._host, 0, *scope))
        except OSError as error:
            if error.errno in _ADDRESS_GONE:
                return None
            raise OperationFailed(f"no socket could be bound: {error.strerror}") from error
        name: tuple[Any, ...] = client.getsockname()
        return str(name[0]), int(name[1])

    def _shake_hands(self, client: socket.socket, deadline: float) -> None:
        try:
            client.settimeout(_remaining(deadline))
            client.connect((self._host, *self._rest))
            with self._context.wrap_socket(client, do_handshake_on_connect=False) as tls:
                tls.settimeout(_remaining(deadline))
                tls.do_handshake()
                refused = _is_refused(tls)
        except ssl.SSLError as error:
            raise OperationFailed(f"the TLS handshake failed: {error.reason or error}") from error
        except TimeoutError as error:
            raise OperationFailed("a new connection timed out") from error
        except OSError as error:
            raise OperationFailed(f"a new connection failed: {error.strerror or error}") from error
        if not refused:
            raise OperationFailed("a client without a certificate was not refused")

    def _await_work(self, deadline: float) -> None:
        job = asyncio.run_coroutine_threadsafe(self._work(), self._loop)
        try:
            job.result(_remaining(deadline))
        except concurrent.futures.TimeoutError as error:
            job.cancel()
            raise OperationFailed("the threads that handle requests timed out") from error


def _is_refused(tls: ssl.SSLSocket) -> bool:
    try:
        tls.recv(1)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    return False


def _remaining(deadline: float) -> float:
    # Zero would make a socket non-blocking.
    return max(deadline - time.monotonic(), 0.001)
