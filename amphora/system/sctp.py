# SPDX-License-Identifier: Apache-2.0
"""Whether a server accepts SCTP associations at an address (RFC 9260), without the kernel's own SCTP."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import struct
import time
from enum import Enum
from pathlib import Path

from amphora.errors import InvalidInput, OperationFailed

_PROTOCOL = 132
_COMMON = struct.Struct("!HHI")
_CHECKSUM = struct.Struct("<I")
_HEADER_LENGTH = 12
_INIT = struct.Struct("!BBHIIHHI")
_ABORT = struct.pack("!BBH", 6, 0, 4)
_WINDOW = 65536
_EPHEMERAL_PORTS = range(49152, 65536)
_CRC32C = 0x82F63B78


class Reply(Enum):
    """What came back; the values are chunk types, if positive."""

    ACCEPTED = 2
    REFUSED = 6
    OTHER = -1
    NONE = -2


def probe(address: str, port: int, timeout: float) -> Reply:
    """Ask for an association, and abort it if it is offered.

    :param timeout: seconds to wait for a reply.
    :raises InvalidInput: it is not an IP address.
    :raises OperationFailed: nothing could be sent, as without the privilege to.
    """
    try:
        version = ipaddress.ip_address(address).version
    except ValueError as error:
        raise InvalidInput(f"{address!r} is not an IP address") from error
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PROTOCOL) as raw:
            # Only packets of this address reach a connected socket.
            raw.connect((address, 0))
            return _probe(raw, port, time.monotonic() + timeout)
    except OSError as error:
        raise OperationFailed(f"{address} could not be probed: {error.strerror or error}") from error


def _probe(raw: socket.socket, port: int, deadline: float) -> Reply:
    source = secrets.choice(_EPHEMERAL_PORTS)
    tag = secrets.randbelow(2**32 - 1) + 1
    raw.send(packet(source, port, 0, _INIT.pack(1, 0, _INIT.size, tag, _WINDOW, 1, 1, tag)))
    while (left := deadline - time.monotonic()) > 0:
        raw.settimeout(left)
        try:
            received = raw.recv(65536)
        except TimeoutError:
            break
        if raw.family == socket.AF_INET:
            # IPv4's header comes with it, IPv6's does not (raw(7), ipv6(7)).
            received = received[(received[0] & 0x0F) * 4 :]
        chunk = chunk_for(received, port, source, tag)
        if chunk is not None:
            return _judge(raw, chunk, source, port)
    return Reply.NONE


def _judge(raw: socket.socket, chunk: bytes, source: int, port: int) -> Reply:
    if chunk[0] == Reply.ACCEPTED.value and len(chunk) >= 8:
        if not Path("/proc/net/sctp").exists():
            # A kernel with SCTP has refused it by now, as it knows nothing of our question.
            raw.send(packet(source, port, int.from_bytes(chunk[4:8], "big"), _ABORT))
        return Reply.ACCEPTED
    return Reply.REFUSED if chunk[0] == Reply.REFUSED.value else Reply.OTHER


def packet(source: int, destination: int, tag: int, chunk: bytes) -> bytes:
    """Return an SCTP packet of one chunk."""
    head = _COMMON.pack(source, destination, tag)
    return head + _CHECKSUM.pack(crc32c(head + b"\0\0\0\0" + chunk)) + chunk


def chunk_for(data: bytes, source: int, destination: int, tag: int) -> bytes | None:
    """Return the first chunk and what follows it, if a packet is for us and undamaged; else None."""
    if len(data) < _HEADER_LENGTH + 4 or _COMMON.unpack_from(data) != (source, destination, tag):
        return None
    chunk = data[_HEADER_LENGTH:]
    (checksum,) = _CHECKSUM.unpack_from(data, _COMMON.size)
    return chunk if crc32c(data[: _COMMON.size] + b"\0\0\0\0" + chunk) == checksum else None


def crc32c(data: bytes) -> int:
    """Return the checksum of SCTP: the Castagnoli polynomial, bits reversed (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CRC32C if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
