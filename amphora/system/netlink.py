# SPDX-License-Identifier: Apache-2.0
"""Messages of netlink(7) and their attributes, and questions by generic netlink. Nothing here forks."""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator

from amphora.errors import OperationFailed

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_CODE = struct.Struct("=i")
#: What the messages of nf_tables and of generic netlink families begin with.
_OWN_HEADER = 4

REQUEST, ACKNOWLEDGE, DUMP = 0x1, 0x4, 0x300
#: Flag of a dump during which something changed.
INTERRUPTED = 0x10
ERROR, DONE = 2, 3
#: Two bits of an attribute's type give its encoding.
_TYPE_MASK = 0x3FFF

#: No answer of the kernel is longer.
BUFFER = 256 * 1024

#: ``NETLINK_GENERIC``; the socket module has no name for it.
_GENERIC_PROTOCOL = 16
_GENERIC_HEADER = struct.Struct("=BBH")
_FAMILY_NUMBER = struct.Struct("=H")

_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY = 16, 1, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2

#: Seconds for an answer.
_TIMEOUT = 2.0


def open_socket(protocol: int, timeout: float) -> socket.socket:
    """Return a socket in the network namespace of the calling thread.

    :param timeout: seconds that one send or receive may take.
    """
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    link.settimeout(timeout)
    return link


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
    """Yield the attributes of every message that answers a request to nf_tables or generic netlink.

    :raises OSError, ValueError: see :func:`bodies`.
    """
    return (body[_OWN_HEADER:] for body in bodies(link))


def bodies(link: socket.socket) -> Iterator[bytes]:
    """Yield the body of every message that answers a request, to the end of a dump.

    :raises OSError: the kernel's own error.
    :raises ValueError: the answer is malformed.
    """
    while True:
        data = link.recv(BUFFER)
        if not data:
            raise ValueError("the answer ends early")
        for kind, _, body in messages(data):
            if kind in (DONE, ERROR):
                return
            yield body


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and body of each message of a datagram; ``ERROR`` is then an acknowledgement.

    :raises OSError: the kernel's own error.
    :raises ValueError: a message is cut off or malformed; those before it have been yielded.
    """
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise ValueError("a message is cut off")
        length, kind, flags, *_ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise ValueError(f"a message has the length {length}")
        body = data[at + _HEADER.size : at + length]
        if kind == ERROR:
            _raise_if_error(body)
        yield kind, flags, body
        at += _aligned(length)


def _raise_if_error(body: bytes) -> None:
    code = -_ERROR_CODE.unpack_from(body)[0] if len(body) >= _ERROR_CODE.size else errno.EPROTO
    if code:
        raise OSError(code, os.strerror(code))


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def dump(family: str, version: int, command: int) -> list[bytes] | None:
    """Return the content of every message of a dump, or None if the kernel has no such family.

    It is asked in the network namespace of the calling thread.

    :param command: of the family, with a meaning for all objects when no attribute says which.
    :raises OperationFailed: the kernel refused, or gave no usable answer within 2 s.
    """
    try:
        with open_socket(_GENERIC_PROTOCOL, _TIMEOUT) as link:
            number = _family_id(link, family)
            if number is None:
                return None
            link.send(_generic_message(number, version, command, REQUEST | DUMP, b""))
            return list(contents(link))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise OperationFailed(f"the kernel did not answer about {family}: {error}") from error


def _family_id(link: socket.socket, family: str) -> int | None:
    wanted = attribute(_FAMILY_NAME, family.encode() + b"\0")
    link.send(_generic_message(_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY, REQUEST, wanted))
    try:
        content = next(contents(link))
    except FileNotFoundError:
        return None
    return int(_FAMILY_NUMBER.unpack(attributes(content)[_FAMILY_ID])[0])


def _generic_message(family: int, version: int, command: int, flags: int, content: bytes) -> bytes:
    return message(family, flags, _GENERIC_HEADER.pack(command, version, 0) + content)
