# SPDX-License-Identifier: Apache-2.0
"""Fetch haproxy's metrics over its own HTTP endpoint, in pieces, however many there are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import BinaryIO

from amphora.errors import OperationFailed

_REQUEST = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_LONGEST_LINE = 64 * 1024
_MOST_HEADERS = 100


def fetch(address: tuple[str, int], timeout: float) -> Iterator[str]:
    """Yield the lines of the metrics, without line ends.

    :param timeout: seconds that haproxy may be silent.
    :raises OperationFailed: before the first line: it gives none. After it: they are not complete.
    """
    try:
        with socket.create_connection(address, timeout) as connection:
            connection.sendall(_REQUEST)
            with connection.makefile("rb") as stream:
                yield from _lines(_body(stream))
    except OSError as error:
        raise OperationFailed(f"haproxy gives no metrics: {error.strerror or error}") from error


def _body(stream: BinaryIO) -> Iterator[bytes]:
    if _line(stream).split(b" ")[1:2] != [b"200"]:
        raise OperationFailed("haproxy answers, but not with metrics")
    headers: list[bytes] = []
    while (header := _line(stream).lower()) and len(headers) < _MOST_HEADERS:
        headers.append(header.replace(b" ", b""))
    if b"transfer-encoding:chunked" not in headers:
        while data := stream.read(_LONGEST_LINE):
            yield data
        return
    while size := _size(_line(stream)):
        data = stream.read(size)
        if len(data) < size:
            raise OperationFailed("haproxy's metrics end in the middle")
        yield data
        _line(stream)


def _size(line: bytes) -> int:
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        raise OperationFailed("haproxy's metrics end in the middle") from None


def _line(stream: BinaryIO) -> bytes:
    return stream.readline(_LONGEST_LINE).rstrip(b"\r\n")


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield line.decode("utf-8", "replace")
        if len(rest) > _LONGEST_LINE:
            raise OperationFailed("a line of haproxy's metrics is too long")
    if rest:
        yield rest.decode("utf-8", "replace")
