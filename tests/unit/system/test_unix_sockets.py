# SPDX-License-Identifier: Apache-2.0
import errno
import os
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.system.sockets import inodes_at, parse_unix_diag, unix_listeners


def test_a_socket_is_found_by_its_file_even_when_renamed(short_dir):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_dir / "before"))
        assert inodes_at(short_dir / "before", unix_listeners()) == frozenset()
        sock.listen()
        (short_dir / "before").rename(short_dir / "after")
        inode = os.fstat(sock.fileno()).st_ino
        assert inodes_at(short_dir / "after", unix_listeners()) == {inode}
        assert inodes_at(short_dir / "before", unix_listeners()) == frozenset()


def test_nobody_is_found_at_the_path_of_a_file(short_dir):
    (short_dir / "file").touch()
    assert inodes_at(short_dir / "file", unix_listeners()) == frozenset()


def test_abstract_sockets_have_their_name():
    name = f"amp-{os.getpid()}".encode()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(b"\0" + name)
        sock.listen()
        inode = os.fstat(sock.fileno()).st_ino
        assert [s.inode for s in unix_listeners() if s.abstract == name] == [inode]


def message(kind, body):
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body


def test_an_error_of_the_kernel_is_raised():
    with pytest.raises(OSError) as caught:
        parse_unix_diag(message(2, struct.pack("=i", -errno.ENOENT)))
    assert caught.value.errno == errno.ENOENT


def test_the_last_part_says_so():
    assert parse_unix_diag(message(3, b"")) == ((), True)
    assert parse_unix_diag(b"") == ((), False)


@given(
    st.lists(st.tuples(st.sampled_from([20, 1, 9]), st.binary(max_size=60)), max_size=4),
    st.binary(max_size=40),
)
def test_odd_or_cut_messages_never_raise(messages, tail):
    data = b"".join(message(kind, body + bytes(-len(body) % 4)) for kind, body in messages)
    try:
        parse_unix_diag(data + tail)
    except OSError:
        assert tail
