# SPDX-License-Identifier: Apache-2.0
"""Gratuitous ARP and gratuitous neighbour advertisements: neighbours learn where an address is now.

RFC 5227 section 3 (ARP announcement), RFC 4861 sections 4.4 and 7.2.6 (unsolicited neighbour
advertisement).
"""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address

from amphora.errors import OperationFailed
from amphora.models import IPAddress
from amphora.system.namespaces import call_inside

_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_ARP = 0x0806
_ARP_HARDWARE_ETHERNET = 1
_ARP_REQUEST = 1
_BROADCAST = b"\xff" * 6
_ALL_NODES = "ff02::1"
_NEIGHBOUR_ADVERTISEMENT = 136
_ROUTER_AND_OVERRIDE = 0xA0000000
_TARGET_LINK_LAYER_ADDRESS = 2
#: Receivers drop what may have crossed a router.
_HOP_LIMIT = 255


def advertise(address: IPAddress, interface: str, mac_address: str, namespace: str = "") -> None:
    """Announce to all neighbours on an interface's link that an address is reached at its MAC address.

    Sends one frame; safe to repeat. The interface must be up and, for IPv6, hold the address.

    :raises OperationFailed: it could not be sent.
    """
    hardware = bytes.fromhex(mac_address.replace(":", ""))
    try:
        if isinstance(address, IPv4Address):
            call_inside(namespace, lambda: _send_arp(arp_frame(address, hardware), interface))
        else:
            call_inside(namespace, lambda: _send_neighbour_advertisement(address, hardware, interface))
    except OSError as error:
        kind = "ARP" if address.version == 4 else "NA"
        raise OperationFailed(
            f"failed to send gratuitous {kind} for {address} on {interface}: {error.strerror or error}"
        ) from error


def arp_frame(address: IPv4Address, hardware: bytes) -> bytes:
    """Return the frame of a broadcast ARP request in which the address asks for itself."""
    ethernet = _BROADCAST + hardware + struct.pack("!H", _ETHERTYPE_ARP)
    kind = struct.pack("!HHBBH", _ARP_HARDWARE_ETHERNET, _ETHERTYPE_IPV4, 6, 4, _ARP_REQUEST)
    return ethernet + kind + hardware + address.packed + _BROADCAST + address.packed


def neighbour_advertisement(address: IPv6Address, hardware: bytes) -> bytes:
    """Return the ICMPv6 message; its checksum is left to the kernel."""
    head = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, _ROUTER_AND_OVERRIDE)
    option = struct.pack("!BB", _TARGET_LINK_LAYER_ADDRESS, 1) + hardware
    return head + address.packed + option


def _send_arp(frame: bytes, interface: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as sender:
        sender.bind((interface, 0))
        sender.send(frame)


def _send_neighbour_advertisement(address: IPv6Address, hardware: bytes, interface: str) -> None:
    index = socket.if_nametoindex(interface)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6) as sender:
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, _HOP_LIMIT)
        sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sender.bind((str(address), 0, 0, index))
        sender.sendto(neighbour_advertisement(address, hardware), (_ALL_NODES, 0, 0, index))
