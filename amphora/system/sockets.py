# SPDX-License-Identifier: Apache-2.0
"""Listening sockets, and who holds them (proc(5), proc_pid_net(5), sock_diag(7), unix(7))."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from amphora.models import IPAddress
from amphora.system.netlink import BUFFER, DONE, DUMP, REQUEST, attributes, message, messages, open_socket
from amphora.system.processes import PROC, process_ids

_FIELDS = 10
_LOCAL, _STATE, _UID, _INODE = 1, 3, 7, 9
_UNIX_FLAGS, _UNIX_INODE = 3, 6
#: __SO_ACCEPTCON of linux/net.h, among the flags of ``/proc/PID/net/unix``.
_ACCEPTS = 1 << 16
_IPV4_HEX_LENGTH, _IPV6_HEX_LENGTH = 8, 32

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


class Transport(Enum):
    """A transport protocol, by the name of its table below ``/proc/PID/net``."""

    TCP = "tcp"
    UDP = "udp"


#: State of a socket that takes connections (TCP) or datagrams from any peer (UDP).
_WAITING = {Transport.TCP: "0A", Transport.UDP: "07"}


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that waits for peers.

    :ivar address: IPv4 where the socket is an IPv6 one on a mapped address.
    :ivar inode: its number, unique on this machine across network namespaces.
    :ivar uid: of the user who made it.
    """

    address: IPAddress
    port: int
    inode: int
    uid: int


@dataclass(frozen=True, slots=True)
class SocketHolder:
    """A process that holds a socket."""

    pid: int
    name: str


def listening_sockets(transport: Transport, process: str = "thread-self") -> list[ListeningSocket]:
    """Return the listening sockets of a process's network namespace; none where the kernel lists none.

    :param process: a process id, or ``thread-self``: unlike ``self`` that is true inside
        :func:`amphora.system.namespaces.call_inside`, where only the calling thread has moved.
    """
    found: list[ListeningSocket] = []
    for table in (transport.value, f"{transport.value}6"):
        with contextlib.suppress(OSError), open(PROC / process / "net" / table, encoding="ascii") as lines:
            found.extend(parse_socket_table(lines, transport))
    return found


def parse_socket_table(lines: Iterable[str], transport: Transport) -> Iterator[ListeningSocket]:
    """Yield the listening sockets of ``/proc/PID/net/tcp`` and its kin; malformed lines are ignored.

    The kernel lists listening TCP sockets before all others. Reading stops after them, because a busy
    load balancer has tens of thousands of others.
    """
    for line in lines:
        fields = line.split()
        if len(fields) < _FIELDS or not fields[0].endswith(":"):
            continue
        if fields[_STATE] == _WAITING[transport]:
            with contextlib.suppress(ValueError):
                yield _listening_socket(fields)
        elif transport is Transport.TCP:
            return


def socket_inodes(pid: int, among: Collection[int] | None = None) -> frozenset[int]:
    """Return the inodes of the sockets a process holds; none when it has ended or may not be inspected.

    :param among: look for these only, and stop once all are found.
    """
    found: set[int] = set()
    for inode in _held(pid):
        if among is None or inode in among:
            found.add(inode)
        if among is not None and len(found) == len(among):
            break
    return frozenset(found)


def holds_any(pid: int, inodes: Collection[int]) -> bool:
    """Whether a process holds one of these sockets; False when it has ended or may not be inspected."""
    return bool(inodes) and any(inode in inodes for inode in _held(pid))


def waiting_inodes(pid: int) -> frozenset[int]:
    """Return the inodes of all listening TCP and UNIX sockets in a process's network namespace.

    None of a process that has ended. A TCP socket that is paused (``shutdown``) does not listen.
    """
    found = {listener.inode for listener in listening_sockets(Transport.TCP, str(pid))}
    with contextlib.suppress(OSError), open(PROC / str(pid) / "net" / "unix", "rb") as lines:
        found.update(parse_unix_table(lines))
    return frozenset(found)


def parse_unix_table(lines: Iterable[bytes]) -> Iterator[int]:
    """Yield the inodes of the listening sockets of ``/proc/PID/net/unix``; malformed lines are ignored."""
    for line in lines:
        fields = line.split(maxsplit=_UNIX_INODE + 1)
        if len(fields) > _UNIX_INODE:
            with contextlib.suppress(ValueError):
                if int(fields[_UNIX_FLAGS], 16) & _ACCEPTS:
                    yield int(fields[_UNIX_INODE])


def shows_files(pid: int) -> bool:
    """Whether this process may see what another one holds; True of one that has ended."""
    try:
        os.listdir(PROC / str(pid) / "fd")
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def find_holder(inodes: Collection[int]) -> SocketHolder | None:
    """Return the first process found to hold one of these sockets, or None if none can be seen."""
    for pid in process_ids():
        if holds_any(pid, inodes):
            return SocketHolder(pid, process_name(pid))
    return None


def process_name(pid: int) -> str:
    """Return the short name of a process (``/proc/PID/comm``), or ``?`` when it has ended."""
    try:
        return (PROC / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "?"


def unix_listener(address: Path | bytes, timeout: float = 1.0) -> int | None:
    """Return the id of the process that listens on a UNIX stream socket, or None if none is known to.

    It connects and closes at once, since the kernel gives the listener's id to a peer only. The
    id is that of the process that called listen(2), which may have ended; 0 if it cannot be seen.

    :param address: a path, or the bytes of an abstract address, which begin with NUL.
    :param timeout: seconds.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.settimeout(timeout)
            probe.connect(str(address) if isinstance(address, Path) else address)
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    except OSError:
        return None
    return int(struct.unpack("3i", credentials)[0])


def _listening_socket(fields: list[str]) -> ListeningSocket:
    address, _, port = fields[_LOCAL].partition(":")
    return ListeningSocket(_address(address), int(port, 16), int(fields[_INODE]), int(fields[_UID]))


def _address(text: str) -> IPAddress:
    # Words of 32 bits, each printed as the machine's own byte order has it.
    raw = b"".join(struct.pack("=I", int(text[at : at + 8], 16)) for at in range(0, len(text), 8))
    if len(text) == _IPV4_HEX_LENGTH:
        return IPv4Address(raw)
    if len(text) != _IPV6_HEX_LENGTH:
        raise ValueError(text)
    address = IPv6Address(raw)
    return address.ipv4_mapped or address


def _held(pid: int) -> Iterator[int]:
    """Yield the inodes of the sockets of a process, in the order of its descriptors."""
    directory = PROC / str(pid) / "fd"
    try:
        descriptors = sorted(os.listdir(directory), key=int)
    except OSError:
        return
    for descriptor in descriptors:
        inode = _inode(directory / descriptor)
        if inode is not None:
            yield inode


def _inode(link: Path) -> int | None:
    try:
        target = os.readlink(link)
    except OSError:
        return None
    number = target.removeprefix("socket:[").removesuffix("]")
    return int(number) if number != target and number.isdigit() else None


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

    None if the kernel does not answer, as without its ``unix_diag`` module.

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

    Malformed or cut messages are ignored.

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
