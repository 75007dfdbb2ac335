# SPDX-License-Identifier: Apache-2.0
"""Address, timeouts and limits of the server."""

from __future__ import annotations

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits of one server; every time is in seconds.

    The defaults keep the number of open sockets below the usual soft limit of 1024 descriptors.

    :ivar host: IP address to listen on; ``::`` means IPv6 and IPv4.
    :ivar port: TCP port; 0 lets the kernel choose one.
    :ivar hello_timeout: from accept until the client's first TLS record is complete.
    :ivar handshake_timeout: for the TLS handshake that follows.
    :ivar header_timeout: for a request's head, from the handshake or from the request's first byte.
    :ivar request_read_timeout: for the whole request body, from the end of the head.
    :ivar write_timeout: how long a client may leave a full send buffer unread.
    :ivar idle_timeout: how long a kept-alive connection may be silent.
    :ivar max_body: bytes of a request body.
    :ivar max_unauthenticated: connections that have not finished their handshake, from all sources.
    :ivar max_unauthenticated_per_source: the same for one source address.
    :ivar max_handshakes: how many of them may hold TLS buffers, about 80 KiB each.
    :ivar max_connections: connections that have finished their handshake.
    :ivar change_workers: threads for requests that may change something.
    :ivar read_workers: threads for GET, HEAD and OPTIONS, which never queue behind changes.
    :ivar shutdown_grace: how long running requests may take to finish after :meth:`AgentServer.stop`.
    """

    host: str
    port: int
    hello_timeout: float = 10.0
    handshake_timeout: float = 5.0
    header_timeout: float = 10.0
    request_read_timeout: float = 180.0
    write_timeout: float = 30.0
    idle_timeout: float = 75.0
    max_body: int = MEBIBYTE
    max_unauthenticated: int = 512
    max_unauthenticated_per_source: int = 256
    max_handshakes: int = 32
    max_connections: int = 256
    change_workers: int = 32
    read_workers: int = 8
    shutdown_grace: float = 30.0
