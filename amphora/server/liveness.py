# SPDX-License-Identifier: Apache-2.0
"""Finds out whether the server would serve a stranger now, in the way a stranger would."""

from __future__ import annotations

import asyncio
import concurrent.futures
import errno
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any

from amphora.errors import OperationFailed
from amphora.server.lobby import Address, Lobby

_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  replaced, not listened on
#: The address that was listened on is no longer this machine's: nothing that a new start could mend.
_ADDRESS_GONE = frozenset({errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN})


class Liveness:
    """Checks a running server from a thread that is not its own.

    A check opens a connection to the server's own port and shakes hands without a client certificate,
    until the server says that it wants one: so the listening socket, the acceptor, the lobby, the TLS
    context and the event loop all work. It then has a job done by the threads that answer reading
    requests. Nothing needs to be trusted for that, and no request appears anywhere.

    :param listener: the listening socket.
    :param work: has a job done by the application's threads.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        listener: socket.socket,
        lobby: Lobby,
        work: Callable[[], Awaitable[None]],
    ) -> None:
        self._loop = loop
        self._family = listener.family
        host, *self._rest = listener.getsockname()
        self._host = _WILDCARDS.get(host, host)
        self._lobby = lobby
        self._work = work
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # In TLS 1.3 the client is done before the server looks for its certificate, so that being refused
        # for want of one cannot be mistaken for a server that has none itself.
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.check_hostname = False
        # Whom we speak to is known: it is this process. What it presents is the clients' business.
        self._context.verify_mode = ssl.CERT_NONE

    def check(self, timeout: float) -> None:
        """Return when the server serves. May be repeated, never by two threads at once.

        :param timeout: seconds for all of it.
        :raises OperationFailed: what does not work, in one sentence.
        """
        deadline = time.monotonic() + timeout
        with socket.socket(self._family, socket.SOCK_STREAM) as client:
            address = self._bind(client)
            if address is None:
                self._await_work(deadline)
                return
            with self._lobby.expecting(address):
                self._shake_hands(client, deadline)
                # It also ends after the loop has noticed the end of the connection.
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
            raise OperationFailed("a new connection was not answered in time") from error
        except OSError as error:
            raise OperationFailed(f"a new connection failed: {error.strerror or error}") from error
        if not refused:
            raise OperationFailed("a client without a certificate was not refused")

    def _await_work(self, deadline: float) -> None:
        job = asyncio.run_coroutine_threadsafe(self._work_done(), self._loop)
        try:
            job.result(_remaining(deadline))
        except concurrent.futures.TimeoutError as error:
            job.cancel()
            raise OperationFailed("the threads that answer requests did no work in time") from error

    async def _work_done(self) -> None:
        await self._work()


def _is_refused(tls: ssl.SSLSocket) -> bool:
    try:
        tls.recv(1)
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")
    return False


def _remaining(deadline: float) -> float:
    # Zero would make a socket non-blocking.
    return max(deadline - time.monotonic(), 0.001)
