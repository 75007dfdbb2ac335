# SPDX-License-Identifier: Apache-2.0
"""Addresses of a namespace's interfaces, asked of the kernel itself (rtnetlink(7)). Nothing here forks."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import TypeVar

from amphora.errors import OperationFailed
from amphora.system.namespaces import call_inside

_T = TypeVar("_T")

_HEADER = struct.Struct("=IHHII")
_ADDRESS_MESSAGE = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_ERROR_NUMBER = struct.Struct("=i")

# linux/netlink.h and linux/rtnetlink.h
_ERROR, _DONE = 2, 3
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_REQUEST, _ACKNOWLEDGE, _DUMP, _INTERRUPTED = 0x1, 0x4, 0x300, 0x10
_ADDRESS, _LOCAL = 1, 2
_TYPE_MASK = 0x3FFF
_TENTATIVE = 0x40

_Found = tuple[int, IPv4Interface | IPv6Interface, bool]

_RECEIVE_BUFFER = 64 * 1024
_DUMP_ATTEMPTS = 3
#: What the kernel says of an address or interface that has gone meanwhile.
_GONE = (errno.EADDRNOTAVAIL, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """An address that an interface has.

    :ivar interface: its name; empty if it vanished while it was asked for.
    :ivar index: its number, unique within its namespace.
    :ivar tentative: nothing can be sent from it yet, because the kernel still looks for a duplicate
        (RFC 4862, section 5.4).
    """

    interface: str
    index: int
    address: IPv4Interface | IPv6Interface
    tentative: bool = False


@dataclass(frozen=True, slots=True)
class AddressDump:
    """A part of the kernel's answer to a question for all addresses.

    :ivar addresses: interface number, address, and whether it is tentative.
    :ivar complete: no further part follows.
    :ivar consistent: nothing changed while the kernel gathered it.
    """

    addresses: tuple[_Found, ...]
    complete: bool
    consistent: bool = True


def addresses_in(namespace: str, timeout: float = 1.0) -> tuple[HeldAddress, ...]:
    """Return all addresses of all interfaces in a namespace, in the kernel's order. Never forks.

    :param timeout: seconds.
    :raises OperationFailed: the namespace cannot be entered, or the kernel did not answer in time.
    """
    return call_inside(namespace, lambda: _guarded(lambda: tuple(_held(timeout))))


def remove_addresses(namespace: str, doomed: Iterable[HeldAddress], timeout: float = 1.0) -> None:
    """Take addresses off their interfaces. One that is gone already is fine: safe to repeat.

    All are tried even if one cannot be removed.

    :param timeout: seconds for each.
    :raises OperationFailed: which ones are still there and why.
    """
    call_inside(namespace, lambda: _guarded(lambda: _remove_each(tuple(doomed), timeout)))


def parse_dump(data: bytes) -> AddressDump:
    """Read one datagram of the kernel's answer. Odd or cut messages are passed over.

    :raises OSError: the kernel reports an error.
    """
    addresses: list[_Found] = []
    consistent = True
    for kind, flags, body in _messages(data):
        consistent = consistent and not flags & _INTERRUPTED
        if kind == _DONE:
            return AddressDump(tuple(addresses), True, consistent)
        if kind == _ERROR:
            _raise_error(body)
        if kind == _NEW_ADDRESS:
            found = _parse_address(body)
            if found is not None:
                addresses.append(found)
    return AddressDump(tuple(addresses), False, consistent)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += _aligned(length)


def _parse_address(body: bytes) -> _Found | None:
    if len(body) < _ADDRESS_MESSAGE.size:
        return None
    family, prefix, flags, _, index = _ADDRESS_MESSAGE.unpack_from(body)
    attributes = dict(_attributes(body[_ADDRESS_MESSAGE.size :]))
    # On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL our own.
    raw = attributes.get(_LOCAL, attributes.get(_ADDRESS, b""))
    bits = {socket.AF_INET: 32, socket.AF_INET6: 128}.get(family)
    if bits is None or len(raw) * 8 != bits or prefix > bits:
        return None
    return index, ip_interface((raw, prefix)), bool(flags & _TENTATIVE)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            return
        yield kind & _TYPE_MASK, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def _held(timeout: float) -> Iterator[HeldAddress]:
    for index, address, tentative in _dump(timeout):
        try:
            name = socket.if_indextoname(index)
        except OSError:
            name = ""
        yield HeldAddress(name, index, address, tentative)


def _dump(timeout: float) -> list[_Found]:
    deadline = time.monotonic() + timeout
    found: list[_Found] = []
    for _ in range(_DUMP_ATTEMPTS):
        found, consistent = _dump_once(deadline)
        if consistent:
            break
    return found


def _dump_once(deadline: float) -> tuple[list[_Found], bool]:
    request = _request(_GET_ADDRESS, _REQUEST | _DUMP, _ADDRESS_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    found: list[_Found] = []
    consistent = True
    with _netlink_socket() as channel:
        channel.send(request)
        while True:
            channel.settimeout(max(0.001, deadline - time.monotonic()))
            part = parse_dump(channel.recv(_RECEIVE_BUFFER))
            found.extend(part.addresses)
            consistent = consistent and part.consistent
            if part.complete:
                return found, consistent


def _remove_each(doomed: tuple[HeldAddress, ...], timeout: float) -> None:
    problems = []
    for held in doomed:
        try:
            _remove(held, timeout)
        except OSError as error:
            if error.errno not in _GONE:
                problems.append(f"{held.address} of {held.interface}: {error.strerror or error}")
    if problems:
        raise OperationFailed(f"addresses could not be removed: {'; '.join(problems)}")


def _remove(held: HeldAddress, timeout: float) -> None:
    address = held.address
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = _ADDRESS_MESSAGE.pack(family, address.network.prefixlen, 0, 0, held.index)
    body += _attribute(_LOCAL, address.ip.packed) + _attribute(_ADDRESS, address.ip.packed)
    with _netlink_socket() as channel:
        channel.settimeout(timeout)
        channel.send(_request(_DELETE_ADDRESS, _REQUEST | _ACKNOWLEDGE, body))
        for kind, _, answer in _messages(channel.recv(_RECEIVE_BUFFER)):
            if kind == _ERROR:
                _raise_error(answer)


def _netlink_socket() -> socket.socket:
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)


def _request(kind: int, flags: int, body: bytes) -> bytes:
    return _HEADER.pack(_HEADER.size + len(body), kind, flags, 1, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def _raise_error(body: bytes) -> None:
    number = -_ERROR_NUMBER.unpack_from(body)[0] if len(body) >= _ERROR_NUMBER.size else errno.EPROTO
    if number:
        raise OSError(number, os.strerror(number))


def _guarded(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except TimeoutError as error:
        raise OperationFailed("the kernel did not answer a question for addresses in time") from error
    except OSError as error:
        raise OperationFailed(f"the kernel refused a question for addresses: {error.strerror}") from error


def _aligned(length: int) -> int:
    return (length + 3) & ~3
