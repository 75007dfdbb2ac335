# SPDX-License-Identifier: Apache-2.0
"""What the kernel has of a table of packet filter rules, asked over netlink. Nothing here forks.

The numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from amphora.errors import OperationFailed
from amphora.system.namespaces import call_inside
from amphora.system.netlink import (
    DUMP,
    REQUEST,
    attribute,
    attribute_list,
    attributes,
    contents,
    message,
    open_socket,
)

#: ``NETLINK_NETFILTER``; the socket module has no name for it.
_PROTOCOL = 12
_SUBSYSTEM = 10 << 8
_OWN_HEADER = struct.Struct("=BBH")
_FAMILIES: Mapping[str, int] = MappingProxyType({"inet": 1, "ip": 2, "ip6": 10})

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS = 1, 4, 7, 10, 13
_TABLE, _NAME = 1, 2
_ELEMENTS = 3
#: Of each kind of object, what tells one from another and what it does: no handles, and nothing that counts.
_LASTING: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        # Its flags tell whether it is switched off.
        _GET_TABLE: frozenset({2}),
        # Name, hook with priority, policy, type.
        _GET_CHAIN: frozenset({3, 4, 5, 7}),
        # Chain, expressions, and the user's data, which is where comments are.
        _GET_RULE: frozenset({2, 4, 7}),
        # Name, flags, types and lengths of keys and data.
        _GET_SET: frozenset({2, 3, 4, 5, 6, 7}),
    }
)
_TIMEOUT = 2.0


def table_content(namespace: str, family: str, name: str) -> bytes | None:
    """Return all that a table does, or None where there is no such table.

    It is the same for tables that do the same, whenever they were loaded; comments of rules are in it.

    :param namespace: empty means that of the calling thread.
    :raises OperationFailed: the kernel gave no usable answer within 2 s.
    """
    try:
        return call_inside(namespace, lambda: _read(_FAMILIES[family], name.encode() + b"\0"))
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise OperationFailed(f"the kernel did not answer about table {family} {name}: {error}") from error


def _read(family: int, table: bytes) -> bytes | None:
    with open_socket(_PROTOCOL, _TIMEOUT) as link:
        # A table's own name has the number by which other objects name their table.
        found = list(_dump(link, family, _GET_TABLE, table))
        if not found:
            return None
        for kind in (_GET_CHAIN, _GET_RULE):
            found += _dump(link, family, kind, table)
        for each in sorted(_dump(link, family, _GET_SET, table)):
            found += [each, *_elements(link, family, table, attributes(each)[_NAME])]
        return b"".join(found)


def _dump(link: socket.socket, family: int, kind: int, table: bytes) -> Iterator[bytes]:
    for content in _ask(link, family, kind, attribute(_TABLE, table)):
        held = attribute_list(content)
        if dict(held)[_TABLE] == table:
            yield b"".join(attribute(number, data) for number, data in held if number in _LASTING[kind])


def _elements(link: socket.socket, family: int, table: bytes, name: bytes) -> list[bytes]:
    wanted = attribute(_TABLE, table) + attribute(_NAME, name)
    parts = (attributes(content).get(_ELEMENTS, b"") for content in _ask(link, family, _GET_ELEMENTS, wanted))
    # A hash table has no order of its own.
    return sorted(data for part in parts for _, data in attribute_list(part))


def _ask(link: socket.socket, family: int, kind: int, wanted: bytes) -> list[bytes]:
    body = _OWN_HEADER.pack(family, 0, 0) + wanted
    link.send(message(_SUBSYSTEM | kind, REQUEST | DUMP, body))
    try:
        return list(contents(link))
    except FileNotFoundError:
        return []
