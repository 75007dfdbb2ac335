# SPDX-License-Identifier: Apache-2.0
"""Questions to kernel subsystems over generic netlink (netlink(7), genetlink).

It is what commands such as ipvsadm(8) ask through; asked directly, no process is started.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from amphora.errors import OperationFailed

#: ``NETLINK_GENERIC``; the socket module has no name for it.
_PROTOCOL = 16
_HEADER = struct.Struct("=IHHII")
_GENERIC_HEADER = struct.Struct("=BBH")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_CODE = struct.Struct("=i")
_FAMILY_NUMBER = struct.Struct("=H")

_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
#: Two bits of an attribute's type tell how it is coded.
_TYPE_MASK = 0x3FFF

_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY = 16, 1, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2

_BUFFER = 256 * 1024
_TIMEOUT = 2.0


def dump(family: str, version: int, command: int) -> list[bytes] | None:
    """Return the content of every message of a dump, or None if the kernel has no such family.

    It is asked in the network namespace of the calling thread.

    :param command: of the family, with a meaning for all objects when no attribute says which.
    :raises OperationFailed: the kernel refused, or gave no usable answer within 2 s.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _PROTOCOL) as link:
            link.settimeout(_TIMEOUT)
            number = _family_id(link, family)
            if number is None:
                return None
            link.send(_message(number, version, command, _REQUEST | _DUMP, b""))
            return list(_contents(link))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise OperationFailed(f"the kernel did not answer about {family}: {error}") from error


def attributes(data: bytes) -> dict[int, bytes]:
    """Return attributes by type, the last one where a type is repeated.

    :raises ValueError: they are cut off or malformed.
    """
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < _ATTRIBUTE.size:
            raise ValueError("an attribute is cut off")
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise ValueError(f"an attribute has the length {length}")
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def _family_id(link: socket.socket, family: str) -> int | None:
    name = family.encode() + b"\0"
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(name), _FAMILY_NAME) + name
    attribute += b"\0" * (_aligned(len(attribute)) - len(attribute))
    link.send(_message(_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY, _REQUEST, attribute))
    try:
        content = next(_contents(link))
    except FileNotFoundError:
        return None
    return int(_FAMILY_NUMBER.unpack(attributes(content)[_FAMILY_ID])[0])


def _contents(link: socket.socket) -> Iterator[bytes]:
    """Yield what messages hold after both headers, to the end of a dump.

    :raises OSError: the kernel's own error.
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
            yield body[_GENERIC_HEADER.size :]


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


def _message(family: int, version: int, command: int, flags: int, content: bytes) -> bytes:
    body = _GENERIC_HEADER.pack(command, version, 0) + content
    return _HEADER.pack(_HEADER.size + len(body), family, flags, 0, 0) + body


def _aligned(length: int) -> int:
    return (length + 3) & ~3
