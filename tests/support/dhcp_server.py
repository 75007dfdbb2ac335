# SPDX-License-Identifier: Apache-2.0
"""A DHCP server (RFC 2131) that offers one lease, and with it all that could steer a machine."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from ipaddress import ip_address

from amphora.system.namespaces import call_inside

ADDRESS, SERVER, ROUTER = "198.51.100.20", "198.51.100.1", "198.51.100.66"
MTU = 1400

#: The rogue's own values, by which a test finds them again.
NAME_SERVER, DOMAIN, HOST_NAME = "198.51.100.53", "rogue.example", "rogue-host"

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s192x4s")
_COOKIE = b"\x63\x82\x53\x63"
_BROADCAST = 0x8000
_TYPE, _END = 53, 255
_DISCOVER, _OFFER, _REQUEST, _ACK = 1, 2, 3, 5


def _packed(address: str) -> bytes:
    return ip_address(address).packed


#: Of a well-behaved server the mask, the broadcast address, the MTU and the way to 203.0.113.0/24.
_OPTIONS = {
    1: _packed("255.255.255.0"),
    3: _packed(ROUTER),
    6: _packed(NAME_SERVER),
    12: HOST_NAME.encode(),
    15: DOMAIN.encode(),
    26: MTU.to_bytes(2, "big"),
    28: _packed("198.51.100.255"),
    42: _packed(NAME_SERVER),
    51: (600).to_bytes(4, "big"),
    54: _packed(SERVER),
    119: b"\x05rogue\x07example\x00",
    121: b"\x00" + _packed(ROUTER) + b"\x18\xcb\x00\x71" + _packed("198.51.100.7"),
}


@contextlib.contextmanager
def dhcp_server(namespace: str, interface: str) -> Iterator[None]:
    """Serve on an interface that has the server's address, until the ``with`` block ends."""
    server = call_inside(namespace, lambda: _bound_socket(interface))
    thread = threading.Thread(target=_serve, args=(server,), name="dhcp-server")
    thread.start()
    try:
        yield
    finally:
        # It wakes the thread, although a socket without a peer is then said to be unconnected.
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RD)
        thread.join()
        server.close()


def _bound_socket(interface: str) -> socket.socket:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
    server.bind(("", 67))
    return server


def _serve(server: socket.socket) -> None:
    while request := _received(server):
        answer = {_DISCOVER: _OFFER, _REQUEST: _ACK}.get(_message_type(request))
        if answer is not None:
            # Everybody on the wire gets it: the client has no address yet.
            server.sendto(_reply(request, answer), ("255.255.255.255", 68))


def _received(server: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return server.recv(1500)
    return b""


def _message_type(request: bytes) -> int:
    options = request[_HEADER.size :]
    while len(options) > 2 and options[0] != _END:
        if options[0] == _TYPE:
            return options[2]
        options = options[2 + options[1] :] if options[0] else options[1:]
    return 0


def _reply(request: bytes, message_type: int) -> bytes:
    _, kind, length, _, exchange, _, _, _, _, _, relay, hardware, _ = _HEADER.unpack_from(request)
    header = _HEADER.pack(
        2,
        kind,
        length,
        0,
        exchange,
        0,
        _BROADCAST,
        bytes(4),
        _packed(ADDRESS),
        _packed(SERVER),
        relay,
        hardware,
        _COOKIE,
    )
    options = {_TYPE: bytes([message_type]), **_OPTIONS}
    return header + b"".join(bytes([code, len(value)]) + value for code, value in options.items()) + b"\xff"
