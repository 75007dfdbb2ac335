# SPDX-License-Identifier: Apache-2.0
"""Network interfaces and their addresses as the kernel has them (getifaddrs(3), rtnetlink(7)).

Reading them costs neither a process nor a library beyond the C library's own.
"""

from __future__ import annotations

import ctypes
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any, TypeVar

from amphora.errors import OperationFailed
from amphora.models import Interface, IPInterface
from amphora.system.namespaces import call_inside

_IFF_UP = 0x1
_RTMGRP_LINK = 0x1
_MAC_LENGTH = 6

_T = TypeVar("_T")


class _IfAddrs(ctypes.Structure):
    """``struct ifaddrs``."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
    ("destination", ctypes.c_void_p),
    ("data", ctypes.c_void_p),
]


def interfaces(namespace: str = "") -> list[Interface]:
    """Return the interfaces of a network namespace, loopback included, in the kernel's order.

    Never forks. Empty where the namespace does not exist (yet) or the kernel tells nothing.
    """
    try:
        return call_inside(namespace, _interfaces_here)
    except OperationFailed:
        return []


def wait_for_link_event(question: Callable[[], _T | None], timeout: float) -> _T | None:
    """Ask a question now and after each change of a link of this namespace; return its first answer.

    :param timeout: seconds until None is returned, if it was never answered.
    """
    deadline = time.monotonic() + timeout
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as events:
        # Subscribed before the first look, so that nothing comes unseen between the two.
        events.bind((0, _RTMGRP_LINK))
        events.setblocking(False)
        while (answer := question()) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([events], [], [], left)[0]:
                return None
            _drain(events)
    return answer


def _drain(events: socket.socket) -> None:
    while True:
        try:
            events.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            # ENOBUFS: events were lost, which is one more reason to look.
            return


def _interfaces_here() -> list[Interface]:
    libc = ctypes.CDLL(None, use_errno=True)
    head = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(head)) != 0:
        raise OperationFailed(f"interfaces cannot be read: {os.strerror(ctypes.get_errno())}")
    try:
        return _collect(_entries(head))
    finally:
        libc.freeifaddrs(head)


def _entries(head: Any) -> Iterator[Any]:
    while head:
        yield head.contents
        head = head.contents.next


def _collect(entries: Iterator[Any]) -> list[Interface]:
    links: dict[str, tuple[str, bool]] = {}
    addresses: dict[str, list[IPInterface]] = {}
    for entry in entries:
        # The C library gives an IPv4 address's label for the name: "eth1:0" is on eth1.
        name = entry.name.decode("utf-8", "replace").partition(":")[0]
        family = _family(entry.address)
        if family == socket.AF_PACKET:
            links[name] = (_mac_address(entry.address), bool(entry.flags & _IFF_UP))
        elif family in (socket.AF_INET, socket.AF_INET6):
            addresses.setdefault(name, []).append(_ip_interface(family, entry.address, entry.netmask))
    return [Interface(name, mac, up, tuple(addresses.get(name, ()))) for name, (mac, up) in links.items()]


def _family(address: int | None) -> int:
    return struct.unpack("=H", ctypes.string_at(address, 2))[0] if address else 0


def _mac_address(address: int) -> str:
    # struct sockaddr_ll: family, protocol, interface index, hardware type, packet type, length, address
    _, length, hardware = struct.unpack("=10sxB8s", ctypes.string_at(address, 20))
    return hardware[:length].hex(":") if length == _MAC_LENGTH and any(hardware[:length]) else ""


def _ip_interface(family: int, address: int, netmask: int | None) -> IPInterface:
    raw, mask = _raw_address(family, address), _raw_address(family, netmask) if netmask else b""
    prefix = int.from_bytes(mask, "big").bit_count() if mask else len(raw) * 8
    if family == socket.AF_INET:
        return IPv4Interface((IPv4Address(raw), prefix))
    return IPv6Interface((IPv6Address(raw), prefix))


def _raw_address(family: int, address: int) -> bytes:
    if family == socket.AF_INET:
        return ctypes.string_at(address + 4, 4)
    return ctypes.string_at(address + 8, 16)
