# SPDX-License-Identifier: Apache-2.0
"""Answer requests for metrics, one after the other: haproxy is the only client, on loopback.

A web framework, or the standard library's HTTP server, would take more memory than all of this.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterable, Iterator

from amphora.errors import OperationFailed

LOG = logging.getLogger(__name__)

_HEADERS = "cache-control: no-cache\r\nconnection: close\r\n\r\n"
_METRICS = f"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n{_HEADERS}".encode()
_NO_METRICS = (
    f"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain\r\ncontent-length: 0\r\n{_HEADERS}".encode()
)
_NOT_KNOWN = f"HTTP/1.1 405 Method Not Allowed\r\nallow: GET\r\ncontent-length: 0\r\n{_HEADERS}".encode()
_TIMEOUT = 5.0
_LONGEST_REQUEST = 16 * 1024
_PIECE = 64 * 1024


class MetricsServer:
    """Serves until it is closed.

    :param metrics: returns the lines to serve now; its first may raise OperationFailed.
    """

    def __init__(self, address: tuple[str, int], metrics: Callable[[], Iterator[str]]) -> None:
        self._metrics = metrics
        self._socket = socket.create_server(address, backlog=16)

    @property
    def port(self) -> int:
        """That it listens on."""
        return int(self._socket.getsockname()[1])

    def serve(self) -> None:
        """Answer until :meth:`close` is called by another thread or a signal."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._answer(connection)
                except OSError as error:
                    LOG.info("a request for metrics was not answered: %s", error)

    def close(self) -> None:
        """Serve no more; safe to repeat."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _answer(self, connection: socket.socket) -> None:
        method = _read_request(connection)
        if method not in (b"GET", b"HEAD"):
            connection.sendall(_NOT_KNOWN)
            return
        try:
            lines = self._metrics()
            first = next(lines, "")
        except OperationFailed as error:
            LOG.warning("%s", error)
            connection.sendall(_NO_METRICS)
            return
        connection.sendall(_METRICS)
        if method == b"GET":
            _send(connection, first, lines)


def _read_request(connection: socket.socket) -> bytes:
    request, deadline = b"", time.monotonic() + _TIMEOUT
    while b"\r\n\r\n" not in request and len(request) < _LONGEST_REQUEST:
        connection.settimeout(max(deadline - time.monotonic(), 0.001))
        received = connection.recv(4096)
        if not received:
            break
        request += received
    connection.settimeout(_TIMEOUT)
    return request.split(b" ", 1)[0]


def _send(connection: socket.socket, first: str, lines: Iterable[str]) -> None:
    piece, length = [first], len(first)
    try:
        for line in lines:
            piece.append(line)
            length += len(line)
            if length > _PIECE:
                connection.sendall(("\n".join(piece) + "\n").encode())
                piece, length = [], 0
    except OperationFailed as error:
        # Cut off rather than ended in order: half of the metrics must not pass for all.
        LOG.warning("%s", error)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        return
    if piece:
        connection.sendall(("\n".join(piece) + "\n").encode())
