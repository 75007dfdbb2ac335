# SPDX-License-Identifier: Apache-2.0
"""Questions to kernel subsystems over netlink(7): messages and their attributes."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_CODE = struct.Struct("=i")
#: What the message of each subsystem that is asked here begins with.
_OWN_HEADER = 4

REQUEST, DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
#: Two bits of an attribute's type tell how it is coded.
_TYPE_MASK = 0x3FFF

_BUFFER = 256 * 1024


def message(kind: int, flags: int, body: bytes) -> bytes:
    """Return one message."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 0, 0) + body


def attribute(kind: int, content: bytes) -> bytes:
    """Return one attribute."""
    data = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), kind) + content
    return data + b"\0" * (_aligned(len(data)) - len(data))


def attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by type, the last one where a type is repeated.

    :raises ValueError: they are cut off or malformed.
    """
    return dict(attribute_list(data))


def attribute_list(data: bytes) -> list[tuple[int, bytes]]:
    """Return attributes with their types, in their order.

    :raises ValueError: they are cut off or malformed.
    """
    found = []
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise ValueError("an attribute is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise ValueError(f"an attribute has the length {length}")
        found.append((kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]))
        at += _aligned(length)
    return found


def contents(link: socket.socket) -> Iterator[bytes]:
    """Yield the attributes of every message that answers a request, to the end of a dump.

    :raises OSError: the kernel's own error.
    :raises ValueError: the answer is malformed.
    """
    while True:
        data = link.recv(_BUFFER)
        if not data:
            raise ValueError("the answer ends early")
        for kind, body in _messages(data):
            if kind == _DONE:
                return
            if kind == _ERROR:
                _raise_if_error(body)
                return
            yield body[_OWN_HEADER:]


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise ValueError(f"a message has the length {length}")
        yield kind, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _raise_if_error(body: bytes) -> None:
    (code,) = _ERROR_CODE.unpack_from(body)
    if code == -errno.ENOENT:
        raise FileNotFoundError
    if code:
        raise OSError(-code, os.strerror(-code))


def _aligned(length: int) -> int:
    return (length + 3) & ~3
