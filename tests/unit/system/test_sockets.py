# SPDX-License-Identifier: Apache-2.0
import os
import shutil
import socket
import struct
import tempfile
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.system.sockets import (
    ListeningSocket,
    SocketHolder,
    Transport,
    find_holder,
    holds_any,
    listening_sockets,
    parse_socket_table,
    parse_unix_table,
    process_name,
    shows_files,
    socket_inodes,
    unix_listener,
    waiting_inodes,
)

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


@pytest.fixture
def short_dir():
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory)


def listening(family, address, kind=socket.SOCK_STREAM):
    sock = socket.socket(family, kind)
    sock.bind((address, 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    return sock


def inode_of(sock):
    return os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize(
    ("transport", "family", "kind", "address"),
    [
        (Transport.TCP, socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1"),
        (Transport.TCP, socket.AF_INET6, socket.SOCK_STREAM, "::1"),
        (Transport.TCP, socket.AF_INET6, socket.SOCK_STREAM, "::ffff:127.0.0.1"),
        (Transport.UDP, socket.AF_INET, socket.SOCK_DGRAM, "0.0.0.0"),
        (Transport.UDP, socket.AF_INET6, socket.SOCK_DGRAM, "::"),
    ],
)
def test_a_real_listener_is_listed(transport, family, kind, address):
    with listening(family, address, kind) as sock:
        expected = ListeningSocket(
            ip_address(address.removeprefix("::ffff:")), sock.getsockname()[1], inode_of(sock), os.geteuid()
        )
        assert expected in listening_sockets(transport)
        assert expected in listening_sockets(transport, str(os.getpid()))
    assert expected not in listening_sockets(transport)


def test_connected_sockets_are_not_listed():
    with listening(socket.AF_INET, "127.0.0.1") as sock, socket.create_connection(sock.getsockname()) as peer:
        ports = [listener.port for listener in listening_sockets(Transport.TCP)]
        assert sock.getsockname()[1] in ports
        assert peer.getsockname()[1] not in ports


def test_a_process_that_is_gone_has_no_table():
    assert listening_sockets(Transport.TCP, "0") == []


def test_inodes_of_a_process():
    with listening(socket.AF_INET, "127.0.0.1") as one, listening(socket.AF_INET, "127.0.0.1") as two:
        assert socket_inodes(os.getpid()) >= {inode_of(one), inode_of(two)}
        assert socket_inodes(os.getpid(), {inode_of(two), 1}) == {inode_of(two)}
        assert socket_inodes(os.getpid(), set()) == frozenset()
        gone = inode_of(one)
    assert gone not in socket_inodes(os.getpid())
    assert socket_inodes(0) == frozenset()


def test_the_holder_of_a_socket_is_found():
    with listening(socket.AF_INET, "127.0.0.1") as sock:
        inode = inode_of(sock)
        assert find_holder({inode}) == SocketHolder(os.getpid(), process_name(os.getpid()))
    assert find_holder({inode}) is None
    assert find_holder(set()) is None


def test_names_of_processes():
    assert process_name(os.getpid()) == Path("/proc/self/comm").read_text().strip()
    assert process_name(0) == "?"


@pytest.mark.parametrize("abstract", [False, True])
def test_the_listener_of_a_unix_socket(short_dir, abstract):
    address = b"\0" + str(short_dir).encode() if abstract else short_dir / "x.sock"
    assert unix_listener(address) is None
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(address if abstract else str(address))
        assert unix_listener(address) is None
        sock.listen()
        assert unix_listener(address) == os.getpid()
    assert unix_listener(address) is None


def test_a_full_backlog_does_not_hold_the_caller(short_dir):
    path = short_dir / "x.sock"
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as peer:
        sock.bind(str(path))
        sock.listen(0)
        peer.connect(str(path))
        assert unix_listener(path, timeout=0.05) is None


def row(address, port, state="0A", uid=0, inode=1):
    """Write a row as the kernel does: addresses word by word in the machine's own byte order."""
    words = struct.unpack(f"={len(address.packed) // 4}I", address.packed)
    text = "".join(f"{word:08X}" for word in words)
    return f"   0: {text}:{port:04X} {'0' * len(text)}:0000 {state} 0:0 00:0 0 {uid} 0 {inode} 1 0 100 0\n"


IPV6 = st.ip_addresses(v=6).map(lambda address: IPv6Address(int(address)))
ADDRESSES = st.ip_addresses(v=4) | IPV6.filter(lambda address: not address.ipv4_mapped)
NUMBERS = st.integers(0, 2**32 - 1)
SOCKETS = st.builds(ListeningSocket, ADDRESSES, st.integers(0, 65535), NUMBERS, NUMBERS)


@given(st.lists(SOCKETS), st.lists(SOCKETS))
def test_listening_rows_are_read_back_and_no_others(waiting, connected):
    rows = [row(s.address, s.port, "0A", s.uid, s.inode) for s in waiting]
    others = [row(s.address, s.port, "01", s.uid, s.inode) for s in connected]
    assert list(parse_socket_table([HEADER, *rows, *others], Transport.TCP)) == waiting


def test_reading_stops_after_the_listening_rows():
    lines = iter([HEADER, row(IPv4Address(1), 80), row(IPv4Address(1), 80, "01"), row(IPv4Address(2), 81)])
    assert [s.port for s in parse_socket_table(lines, Transport.TCP)] == [80]
    assert len(list(lines)) == 1


def test_datagram_sockets_come_in_any_order():
    lines = [HEADER, row(IPv4Address(1), 80, "01"), row(IPv4Address(1), 53, "07")]
    assert [s.port for s in parse_socket_table(lines, Transport.UDP)] == [53]


@given(st.lists(st.text(st.sampled_from(list("0123456789ABCDEF: \tx")))), st.sampled_from(Transport))
def test_odd_rows_never_raise(lines, transport):
    assert all(isinstance(found, ListeningSocket) for found in parse_socket_table(lines, transport))


@given(st.text(st.sampled_from("0123456789ABCDEFG"), max_size=40), st.text(max_size=4))
def test_odd_addresses_never_raise(address, port):
    line = f"0: {address}:{port} 0:0 0A 0:0 0:0 0 0 0 1 1"
    for found in parse_socket_table([line], Transport.TCP):
        assert len(address) in (8, 32)
        assert found.inode == 1


def test_files_of_processes_with_more_rights_are_not_shown():
    user = os.geteuid()
    os.seteuid(user or 65534)
    try:
        assert not shows_files(1)
    finally:
        os.seteuid(user)
    assert shows_files(os.getpid())
    assert shows_files(2**22 + 1)


def test_what_a_process_listens_on_is_told_from_what_it_only_holds(short_dir):
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        unix.bind(str(short_dir / "x y"))
        mine = {tcp.fileno(): os.fstat(tcp.fileno()).st_ino, unix.fileno(): os.fstat(unix.fileno()).st_ino}
        assert waiting_inodes(os.getpid()).isdisjoint(mine.values())
        tcp.listen()
        unix.listen()
        assert waiting_inodes(os.getpid()) >= set(mine.values())
        assert holds_any(os.getpid(), mine.values())
    assert not holds_any(os.getpid(), mine.values())
    assert not holds_any(os.getpid(), ())
    assert waiting_inodes(2**22 + 1) == frozenset()


@given(st.lists(st.binary(max_size=60)))
def test_odd_lines_of_the_unix_table_are_passed_over(lines):
    good = b"0000000000000000: 00000002 00000000 00010000 0001 01 4711 /run/x y\n"
    assert 4711 in list(parse_unix_table([*lines, good]))
