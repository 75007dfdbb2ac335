# SPDX-License-Identifier: Apache-2.0
"""Addresses of a namespace's interfaces, asked of the kernel itself (rtnetlink(7)). Nothing here forks."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_interface
from typing import TypeVar

from amphora.errors import OperationFailed
from amphora.models import IPInterface
from amphora.system.namespaces import call_inside
from amphora.system.netlink import (
    ACKNOWLEDGE,
    BUFFER,
    DONE,
    DUMP,
    INTERRUPTED,
    REQUEST,
    attribute,
    attributes,
    bodies,
    message,
    messages,
    open_socket,
)

_T = TypeVar("_T")

_ADDRESS_MESSAGE = struct.Struct("=BBBBI")

# linux/rtnetlink.h and linux/if_addr.h
_NEW_ADDRESS, _DELETE_ADDRESS, _GET_ADDRESS = 20, 21, 22
_ADDRESS, _LOCAL = 1, 2
_TENTATIVE = 0x40

_Found = tuple[int, IPInterface, bool]

_DUMP_ATTEMPTS = 3
#: The kernel's errors for an address or interface that is gone.
_GONE = (errno.EADDRNOTAVAIL, errno.ENODEV)


@dataclass(frozen=True, slots=True)
class HeldAddress:
    """An address that an interface has.

    :ivar interface: its name; empty if it vanished while it was asked for.
    :ivar index: its number, unique within its namespace.
    :ivar tentative: nothing can be sent from it yet, because the kernel still checks for a duplicate
        (RFC 4862, section 5.4).
    """

    interface: str
    index: int
    address: IPInterface
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
    """Read one datagram of the kernel's answer. Malformed or cut messages are ignored.

    :raises OSError: the kernel reports an error.
    """
    addresses: list[_Found] = []
    consistent = True
    with contextlib.suppress(ValueError):
        for kind, flags, body in messages(data):
            consistent = consistent and not flags & INTERRUPTED
            if kind == DONE:
                return AddressDump(tuple(addresses), True, consistent)
            if kind == _NEW_ADDRESS and (found := _parse_address(body)) is not None:
                addresses.append(found)
    return AddressDump(tuple(addresses), False, consistent)


def _parse_address(body: bytes) -> _Found | None:
    if len(body) < _ADDRESS_MESSAGE.size:
        return None
    family, prefix, flags, _, index = _ADDRESS_MESSAGE.unpack_from(body)
    try:
        held = attributes(body[_ADDRESS_MESSAGE.size :])
    except ValueError:
        return None
    # On a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL our own.
    raw = held.get(_LOCAL, held.get(_ADDRESS, b""))
    bits = {socket.AF_INET: 32, socket.AF_INET6: 128}.get(family)
    if bits is None or len(raw) * 8 != bits or prefix > bits:
        return None
    return index, ip_interface((raw, prefix)), bool(flags & _TENTATIVE)


def _held(timeout: float) -> Iterator[HeldAddress]:
    for index, address, tentative in address_dump(timeout):
        try:
            name = socket.if_indextoname(index)
        except OSError:
            name = ""
        yield HeldAddress(name, index, address, tentative)


def address_dump(timeout: float) -> list[_Found]:
    """Return interface number, address and whether it is tentative, for each address of this namespace.

    :raises OSError: the kernel did not answer.
    """
    deadline = time.monotonic() + timeout
    found: list[_Found] = []
    for _ in range(_DUMP_ATTEMPTS):
        found, consistent = _dump_once(deadline)
        if consistent:
            break
    return found


def _dump_once(deadline: float) -> tuple[list[_Found], bool]:
    request = message(_GET_ADDRESS, REQUEST | DUMP, _ADDRESS_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
    found: list[_Found] = []
    consistent = True
    with open_socket(socket.NETLINK_ROUTE, _left_until(deadline)) as channel:
        channel.send(request)
        while True:
            channel.settimeout(_left_until(deadline))
            part = parse_dump(channel.recv(BUFFER))
            found.extend(part.addresses)
            consistent = consistent and part.consistent
            if part.complete:
                return found, consistent


def _left_until(deadline: float) -> float:
    return max(0.001, deadline - time.monotonic())


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
    body += attribute(_LOCAL, address.ip.packed) + attribute(_ADDRESS, address.ip.packed)
    with open_socket(socket.NETLINK_ROUTE, timeout) as channel:
        channel.send(message(_DELETE_ADDRESS, REQUEST | ACKNOWLEDGE, body))
        # Returns at the acknowledgement.
        list(bodies(channel))


def _guarded(call: Callable[[], _T]) -> _T:
    try:
        return call()
    except TimeoutError as error:
        raise OperationFailed("timed out asking the kernel for addresses") from error
    except OSError as error:
        raise OperationFailed(f"failed to ask the kernel for addresses: {error.strerror}") from error
