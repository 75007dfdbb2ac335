# SPDX-License-Identifier: Apache-2.0
"""Counters in the kernel's own form: nested attributes of generic netlink (linux/ip_vs.h)."""

import socket
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.lvs.ipvs_counters import IpvsCounters, parse_services
from amphora.lvs.ipvs_table import Endpoint, VirtualService

NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)


def attribute(kind, content):
    padding = b"\0" * (-len(content) % 4)
    return struct.pack("=HH", 4 + len(content), kind) + content + padding


def statistics(counters, form):
    # Between them stand packets, and after them rates.
    return b"".join(
        [
            attribute(1, struct.pack(form, counters.connections)),
            attribute(2, struct.pack(form, 7)),
            attribute(3, struct.pack(form, 7)),
            attribute(4, struct.pack("=Q", counters.received)),
            attribute(5, struct.pack("=Q", counters.sent)),
            attribute(6, struct.pack(form, 7)),
        ]
    )


def message(service, counters, with_64_bits=True):
    address = service.endpoint.address
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    old = IpvsCounters(counters.connections % 2**32, counters.received, counters.sent)
    fields = [
        attribute(1, struct.pack("=H", family)),
        attribute(2, struct.pack("=H", NUMBERS[service.protocol])),
        attribute(3, address.packed.ljust(16, b"\0")),
        attribute(4, struct.pack("!H", service.endpoint.port)),
        attribute(6, b"wrr\0"),
        attribute(10, statistics(old, "=I")),
    ]
    if with_64_bits:
        fields.append(attribute(12, statistics(counters, "=Q")))
    # The kernel marks what is nested by a bit of the type.
    return attribute(1 | 0x8000, b"".join(fields))


def service(protocol, host, port):
    return VirtualService(protocol, Endpoint(ip_address(host), port))


@pytest.mark.parametrize("with_64_bits", [True, False])
def test_a_kernel_of_either_age_is_understood(with_64_bits):
    one, two = service("UDP", "203.0.113.2", 53), service("SCTP", "2001:db8::4", 2905)
    expected = {one: IpvsCounters(3, 2**40, 5), two: IpvsCounters(1, 2, 3)}
    assert parse_services([message(*each, with_64_bits) for each in expected.items()]) == expected


def test_a_service_by_firewall_mark_is_passed_over():
    by_mark = attribute(1, attribute(1, struct.pack("=H", 2)) + attribute(5, struct.pack("=I", 7)))
    one = service("UDP", "203.0.113.2", 53)
    assert parse_services([by_mark, message(one, IpvsCounters(1))]) == {one: IpvsCounters(1)}


def test_counters_add_up():
    assert IpvsCounters(1, 2, 3) + IpvsCounters(10, 20, 30) == IpvsCounters(11, 22, 33)


@given(
    st.dictionaries(
        st.builds(
            VirtualService,
            st.sampled_from(sorted(NUMBERS)),
            st.builds(Endpoint, st.ip_addresses(), st.integers(0, 65535)),
        ),
        st.builds(IpvsCounters, U64, U64, U64),
        max_size=5,
    )
)
def test_what_the_kernel_sends_is_read_back(counters):
    assert parse_services([message(*each) for each in counters.items()]) == counters


@given(st.lists(st.binary(max_size=80), max_size=4))
def test_odd_messages_never_raise(contents):
    assert isinstance(parse_services(contents), dict)


@given(U32, st.integers(0, 200), st.integers(0, 255))
def test_a_message_with_one_odd_byte_never_raises(connections, at, value):
    whole = bytearray(message(service("UDP", "203.0.113.2", 53), IpvsCounters(connections)))
    whole[at % len(whole)] = value
    assert len(parse_services([bytes(whole)])) <= 1
