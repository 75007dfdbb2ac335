# SPDX-License-Identifier: Apache-2.0
import contextlib
import errno
import socket
import struct
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import OperationFailed
from amphora.system.addresses import HeldAddress, addresses_in, parse_dump, remove_addresses

NEW_ADDRESS, ERROR, DONE = 20, 2, 3
ADDRESS, LOCAL, LABEL = 1, 2, 3


def attribute(kind, value):
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind, body, flags=2):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body + bytes(-len(body) % 4)


def new_address(text, index, local=None, flags=0x80):
    address = ip_interface(text)
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    body = struct.pack("=BBBBI", family, address.network.prefixlen, flags, 0, index)
    body += attribute(LABEL, b"eth1\0") + attribute(ADDRESS, address.ip.packed)
    if local:
        body += attribute(LOCAL, ip_interface(local).ip.packed)
    return message(NEW_ADDRESS, body)


INTERFACES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).flatmap(
    lambda address: st.integers(0, address.max_prefixlen).map(lambda bits: ip_interface((address, bits)))
)


@given(st.lists(st.tuples(INTERFACES, st.integers(1, 2**31), st.booleans()), max_size=8), st.booleans())
def test_what_the_kernel_says_comes_back(entries, complete):
    data = b"".join(
        new_address(str(address), index, flags=0x40 if tentative else 0)
        for address, index, tentative in entries
    )
    dump = parse_dump(data + (message(DONE, bytes(4)) if complete else b""))
    assert dump.addresses == tuple((index, address, tentative) for address, index, tentative in entries)
    assert dump.complete is complete
    assert dump.consistent


@given(st.binary(max_size=200))
def test_odd_bytes_never_raise_but_for_errors_told(data):
    with contextlib.suppress(OSError):
        assert parse_dump(data).complete in (True, False)


@given(st.data())
def test_a_cut_answer_loses_whole_addresses_only(data):
    whole = new_address("198.51.100.1/24", 2) + new_address("2001:db8::1/64", 3)
    length = data.draw(st.integers(0, len(whole)))
    assert parse_dump(whole[:length]).addresses == parse_dump(whole).addresses[: _whole_messages(length)]


def _whole_messages(length):
    first = len(new_address("198.51.100.1/24", 2))
    second = len(new_address("2001:db8::1/64", 3))
    return (length >= first) + (length >= first + second)


def test_our_own_end_of_a_point_to_point_link_counts():
    dump = parse_dump(new_address("192.0.2.2/32", 4, local="192.0.2.1/32"))
    assert dump.addresses == ((4, ip_interface("192.0.2.1/32"), False),)


def test_other_families_and_other_messages_are_passed_over():
    bridge = message(NEW_ADDRESS, struct.pack("=BBBBI", 7, 0, 0, 0, 1))
    link = message(16, bytes(16))
    short = message(NEW_ADDRESS, b"\2")
    assert parse_dump(bridge + link + short).addresses == ()


def test_an_interrupted_dump_is_told():
    assert not parse_dump(message(DONE, bytes(4), flags=0x10)).consistent


def test_an_error_of_the_kernel_is_raised():
    with pytest.raises(PermissionError):
        parse_dump(message(ERROR, struct.pack("=i", -errno.EPERM)))


def test_loopback_is_seen_without_a_fork():
    held = addresses_in("")
    assert HeldAddress("lo", 1, ip_interface("127.0.0.1/8")) in held


def test_an_address_that_is_gone_already_is_removed_without_complaint():
    remove_addresses("", [HeldAddress("lo", 1, ip_interface("192.0.2.77/32"))])
    remove_addresses("", [HeldAddress("gone0", 2**30, ip_interface("2001:db8:77::1/128"))])


def test_a_namespace_that_is_not_there_is_an_error():
    with pytest.raises(OperationFailed, match="no-such-namespace"):
        addresses_in("no-such-namespace")
