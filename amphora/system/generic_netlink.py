# SPDX-License-Identifier: Apache-2.0
"""Questions to kernel subsystems over generic netlink (netlink(7), genetlink).

It is what commands such as ipvsadm(8) ask through; asked directly, no process is started.
"""

from __future__ import annotations

import socket
import struct

from amphora.errors import OperationFailed
from amphora.system.netlink import DUMP, REQUEST, attribute, attributes, contents, message, open_socket

#: ``NETLINK_GENERIC``; the socket module has no name for it.
_PROTOCOL = 16
_GENERIC_HEADER = struct.Struct("=BBH")
_FAMILY_NUMBER = struct.Struct("=H")

_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY = 16, 1, 3
_FAMILY_ID, _FAMILY_NAME = 1, 2

_TIMEOUT = 2.0


def dump(family: str, version: int, command: int) -> list[bytes] | None:
    """Return the content of every message of a dump, or None if the kernel has no such family.

    It is asked in the network namespace of the calling thread.

    :param command: of the family, with a meaning for all objects when no attribute says which.
    :raises OperationFailed: the kernel refused, or gave no usable answer within 2 s.
    """
    try:
        with open_socket(_PROTOCOL, _TIMEOUT) as link:
            number = _family_id(link, family)
            if number is None:
                return None
            link.send(_message(number, version, command, REQUEST | DUMP, b""))
            return list(contents(link))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise OperationFailed(f"the kernel did not answer about {family}: {error}") from error


def _family_id(link: socket.socket, family: str) -> int | None:
    wanted = attribute(_FAMILY_NAME, family.encode() + b"\0")
    link.send(_message(_CONTROL_FAMILY, _CONTROL_VERSION, _GET_FAMILY, REQUEST, wanted))
    try:
        content = next(contents(link))
    except FileNotFoundError:
        return None
    return int(_FAMILY_NUMBER.unpack(attributes(content)[_FAMILY_ID])[0])


def _message(family: int, version: int, command: int, flags: int, content: bytes) -> bytes:
    return message(family, flags, _GENERIC_HEADER.pack(command, version, 0) + content)
