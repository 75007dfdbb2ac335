# SPDX-License-Identifier: Apache-2.0
"""Listening UNIX sockets, asked of the kernel itself (sock_diag(7)). Nothing here forks or connects.

A connection would be counted by the listener as one of a client. ``/proc/net/unix`` does not do: it
keeps the name a socket was bound to, and haproxy binds another name first and renames the file.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from amphora.system.netlink import BUFFER, DONE, DUMP, REQUEST, attributes, message, messages, open_socket

_REQUEST = struct.Struct("=BBHIIIII")
_MESSAGE = struct.Struct("=BBBBIII")
_FILE = struct.Struct("=II")

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h, net/tcp_states.h
_NETLINK_SOCK_DIAG, _BY_FAMILY = 4, 20
_STATE_LISTEN = 1 << 10
_SHOW = 0x1 | 0x2
_NAME, _VFS = 0, 1
#: Bits of a device's minor number as the kernel itself has it (linux/kdev_t.h).
_MINOR_BITS = 20


@dataclass(frozen=True, slots=True)
class UnixListener:
    """A socket that waits for peers.

    :ivar inode: of the socket, as in ``/proc/PID/fd``.
    :ivar abstract: its name without the leading NUL, or None for a socket with a file.
    :ivar file: device and inode of its file, or None.
    """

    inode: int
    abstract: bytes | None = None
    file: tuple[int, int] | None = None


def unix_listeners(timeout: float = 1.0) -> tuple[UnixListener, ...] | None:
    """Return all listening UNIX sockets of the calling thread's network namespace.

    None where the kernel does not tell, as without its ``unix_diag`` module.

    :param timeout: seconds.
    """
    found: list[UnixListener] = []
    request = _REQUEST.pack(socket.AF_UNIX, 0, 0, _STATE_LISTEN, 0, _SHOW, 0, 0)
    try:
        with open_socket(_NETLINK_SOCK_DIAG, timeout) as channel:
            channel.send(message(_BY_FAMILY, REQUEST | DUMP, request))
            complete = False
            while not complete:
                listeners, complete = parse_unix_diag(channel.recv(BUFFER))
                found.extend(listeners)
    except OSError:
        return None
    return tuple(found)


def parse_unix_diag(data: bytes) -> tuple[tuple[UnixListener, ...], bool]:
    """Read one datagram of the kernel's answer; return the sockets, and whether no more follows.

    Odd or cut messages are passed over.

    :raises OSError: the kernel reports an error.
    """
    found: list[UnixListener] = []
    with contextlib.suppress(ValueError):
        for kind, _, body in messages(data):
            if kind == DONE:
                return tuple(found), True
            if kind == _BY_FAMILY and len(body) >= _MESSAGE.size:
                found.append(_listener(body))
    return tuple(found), False


def inodes_at(path: Path, listeners: tuple[UnixListener, ...]) -> frozenset[int]:
    """Return the inodes of the listening sockets whose file is at a path."""
    try:
        status = os.stat(path)
    except OSError:
        return frozenset()
    file = (status.st_dev, status.st_ino & 0xFFFFFFFF)
    return frozenset(listener.inode for listener in listeners if listener.file == file)


def _listener(body: bytes) -> UnixListener:
    inode = _MESSAGE.unpack_from(body)[4]
    try:
        held = attributes(body[_MESSAGE.size :])
    except ValueError:
        return UnixListener(inode)
    abstract = file = None
    if held.get(_NAME, b"").startswith(b"\0"):
        abstract = held[_NAME][1:]
    if len(held.get(_VFS, b"")) >= _FILE.size:
        number, device = _FILE.unpack_from(held[_VFS])
        minor = device & ((1 << _MINOR_BITS) - 1)
        file = (os.makedev(device >> _MINOR_BITS, minor), number)
    return UnixListener(inode, abstract, file)
