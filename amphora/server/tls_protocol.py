# SPDX-License-Identifier: Apache-2.0
"""asyncio's TLS protocol with a small buffer, and an abort that works at any time."""

from __future__ import annotations

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import cast

from amphora.server.settings import ServerSettings

#: Seconds for the exchange of close_notify when a connection is closed.
_SHUTDOWN_TIMEOUT = 1.0


class TlsProtocol(SSLProtocol):
    """TLS on one connection that has already sent its ClientHello.

    asyncio allocates ``max_size`` bytes for each connection: 256 KiB, while most requests have a few. The
    value bounds one read from the socket, not what may be sent.

    :param welcome: called with the encrypted transport once the handshake is over; the protocol it
        returns gets the connection.
    :param waiter: done when the handshake is over, with an exception if it failed.
    """

    max_size = 16 * 1024

    def __init__(
        self,
        context: ssl.SSLContext,
        settings: ServerSettings,
        welcome: Callable[[asyncio.Transport], asyncio.Protocol],
        waiter: asyncio.Future[None],
    ) -> None:
        self._plain: asyncio.Transport | None = None
        self._aborted = False
        super().__init__(
            asyncio.get_running_loop(),
            _Handshaking(welcome),
            context,
            waiter,
            server_side=True,
            ssl_handshake_timeout=settings.handshake_timeout,  # type: ignore[arg-type]  # any number
            ssl_shutdown_timeout=_SHUTDOWN_TIMEOUT,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the handshake, unless the connection was aborted in the meantime."""
        self._plain = cast(asyncio.Transport, transport)
        if self._aborted:
            self._plain.abort()
        else:
            super().connection_made(self._plain)

    def abort(self) -> None:
        """Drop the connection and free its buffers, in any state; may be repeated."""
        self._aborted = True
        if self._plain is not None:
            self._plain.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Release the socket."""
        self._plain = None
        super().connection_lost(exc)

    def _on_handshake_complete(self, handshake_exc: BaseException | None) -> None:
        """Send the alert with the reason of a failed handshake: asyncio would close without it."""
        if handshake_exc is not None:
            self._process_outgoing()  # type: ignore[attr-defined]  # missing in typeshed
        super()._on_handshake_complete(handshake_exc)


class _Handshaking(asyncio.Protocol):
    """A cheap placeholder until the peer is authenticated and gets its HTTP protocol."""

    def __init__(self, welcome: Callable[[asyncio.Transport], asyncio.Protocol]) -> None:
        self._welcome = welcome

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        encrypted = cast(asyncio.Transport, transport)
        protocol = self._welcome(encrypted)
        encrypted.set_protocol(protocol)
        protocol.connection_made(encrypted)
