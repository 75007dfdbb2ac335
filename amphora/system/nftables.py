# SPDX-License-Identifier: Apache-2.0
"""Packet filter and address translation rules of the kernel.

They are loaded by nft(8), a file as one transaction: either all of it takes effect, or nothing does. What the
kernel has is asked over netlink, without a fork; the numbers are those of linux/netfilter/nf_tables.h.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

from amphora.errors import OperationFailed
from amphora.system.command import CommandRunner
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

#: Seconds for nft, and for an answer of the kernel.
_TIMEOUT, _ANSWER_TIMEOUT = 10.0, 2.0

#: ``NETLINK_NETFILTER``; the socket module has no name for it.
_PROTOCOL = 12
_SUBSYSTEM = 10 << 8
_OWN_HEADER = struct.Struct("=BBH")
_FAMILIES: Mapping[str, int] = MappingProxyType({"inet": 1, "ip": 2, "ip6": 10})

_GET_TABLE, _GET_CHAIN, _GET_RULE, _GET_SET, _GET_ELEMENTS = 1, 4, 7, 10, 13
_TABLE, _NAME = 1, 2
_ELEMENTS = 3
#: Of each kind of object, what identifies it and what it does: no handles and no counters.
_LASTING: Mapping[int, frozenset[int]] = MappingProxyType(
    {
        # Its flags show whether it is switched off.
        _GET_TABLE: frozenset({2}),
        # Name, hook with priority, policy, type.
        _GET_CHAIN: frozenset({3, 4, 5, 7}),
        # Chain, expressions, and the user's data, which is where comments are.
        _GET_RULE: frozenset({2, 4, 7}),
        # Name, flags, types and lengths of keys and data.
        _GET_SET: frozenset({2, 3, 4, 5, 6, 7}),
    }
)


class Nftables:
    """Loads rules in one network namespace.

    :param namespace: empty means that of the agent's process.
    """

    def __init__(self, runner: CommandRunner, namespace: str) -> None:
        self._runner = runner
        self._namespace = namespace

    def check(self, path: Path) -> None:
        """Return if the kernel would take a file as it is now. Changes nothing.

        :raises OperationFailed: with nft's output.
        """
        self._read(path, "-c")

    def load(self, path: Path) -> None:
        """Put the rules of a file into effect. Safe to repeat for files that replace what they define.

        :raises OperationFailed: with nft's output; nothing was changed.
        """
        self._read(path)

    def apply(self, text: str) -> None:
        """Put a short text of commands into effect, as one transaction.

        :raises OperationFailed: with nft's output; nothing was changed.
        """
        self._run(text)

    def content(self, family: str, table: str) -> bytes | None:
        """Return what a table does, comments of rules included, or None if there is no such table.

        It is the same for tables that do the same, whenever they were loaded. Never forks.

        :raises OperationFailed: the kernel gave no usable answer within 2 s.
        """
        try:
            read = partial(_read, _FAMILIES[family], table.encode() + b"\0")
            return call_inside(self._namespace, read)
        except (OSError, ValueError, KeyError, struct.error) as error:
            raise OperationFailed(
                f"the kernel did not answer about table {family} {table}: {error}"
            ) from error

    def _read(self, path: Path, *options: str) -> None:
        try:
            # Merges many rules into few look-ups.
            self._run(*options, "-o", "-f", str(path))
        except OperationFailed:
            # nft 1.0 merges some valid rules into what it refuses itself, and older ones know no -o.
            self._run(*options, "-f", str(path))

    def _run(self, *arguments: str) -> None:
        result = self._runner.run(("nft", *arguments), timeout=_TIMEOUT, namespace=self._namespace)
        if not result.succeeded:
            raise OperationFailed(f"nft refused the rules: {result.output.strip()}")


def _read(family: int, table: bytes) -> bytes | None:
    with open_socket(_PROTOCOL, _ANSWER_TIMEOUT) as link:
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
