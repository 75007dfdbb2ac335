# SPDX-License-Identifier: Apache-2.0
"""Network interfaces and their addresses as the kernel has them (rtnetlink(7)). Nothing here forks."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from amphora.errors import OperationFailed
from amphora.models import Interface, IPInterface
from amphora.system.addresses import address_dump
from amphora.system.namespaces import call_inside
from amphora.system.netlink import DUMP, REQUEST, attributes, bodies, message, open_socket

_LINK_MESSAGE = struct.Struct("=BxHiII")
_GET_LINK = 18
_HARDWARE_ADDRESS, _NAME = 1, 3
_IFF_UP = 0x1
_RTMGRP_LINK = 0x1
_MAC_LENGTH = 6
#: Seconds that the kernel may take for one answer.
_TIMEOUT = 1.0

_T = TypeVar("_T")


def interfaces(namespace: str = "") -> list[Interface]:
    """Return the interfaces of a network namespace, loopback included, in the kernel's order.

    Never forks. Empty where the namespace does not exist (yet) or the kernel gives no answer.
    """
    try:
        return call_inside(namespace, _interfaces_here)
    except (OperationFailed, OSError, ValueError, KeyError, struct.error):
        return []


def wait_for_link_event(question: Callable[[], _T | None], timeout: float) -> _T | None:
    """Ask a question now and after each change of a link of this namespace; return its first answer.

    :param timeout: seconds until None is returned, if it was never answered.
    """
    deadline = time.monotonic() + timeout
    with open_socket(socket.NETLINK_ROUTE, timeout=0) as events:
        # Subscribed before the question is asked, so that no change in between is missed.
        events.bind((0, _RTMGRP_LINK))
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
        except OSError:
            # EAGAIN: all were read. ENOBUFS: events were lost, which is one more reason to ask again.
            return


def _interfaces_here() -> list[Interface]:
    addresses: dict[int, list[IPInterface]] = {}
    links = list(_links())
    for index, address, _ in address_dump(_TIMEOUT):
        addresses.setdefault(index, []).append(address)
    return [Interface(name, mac, up, tuple(addresses.get(index, ()))) for index, name, mac, up in links]


def _links() -> Iterator[tuple[int, str, str, bool]]:
    """Yield number, name, MAC address and whether it is up of each link."""
    with open_socket(socket.NETLINK_ROUTE, _TIMEOUT) as link:
        link.send(message(_GET_LINK, REQUEST | DUMP, _LINK_MESSAGE.pack(socket.AF_UNSPEC, 0, 0, 0, 0)))
        for body in bodies(link):
            _, _, index, flags, _ = _LINK_MESSAGE.unpack_from(body)
            held = attributes(body[_LINK_MESSAGE.size :])
            hardware = held.get(_HARDWARE_ADDRESS, b"")
            is_mac = len(hardware) == _MAC_LENGTH and any(hardware)
            name = held[_NAME].rstrip(b"\0").decode("utf-8", "replace")
            yield index, name, hardware.hex(":") if is_mac else "", bool(flags & _IFF_UP)
