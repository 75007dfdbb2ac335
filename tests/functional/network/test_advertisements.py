# SPDX-License-Identifier: Apache-2.0
"""What neighbours hear, taken from the other end of the link."""

import socket
import struct
from ipaddress import ip_address

import pytest

from amphora.errors import OperationFailed
from amphora.system.advertisements import advertise
from amphora.system.namespaces import call_inside
from amphora.testing.network_bench import vip_config

ARP, IPV6 = 0x0806, 0x86DD
VIPS = {"v4": "198.51.100.10", "v6": "2001:db8:1::10"}


@pytest.fixture
def plugged(bench):
    config = vip_config("dual", bench.plug())
    bench.driver.activate(config)
    return config


@pytest.fixture
def ear(bench, plugged):
    """A packet socket on the other end of the plugged link."""

    def open_here():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        sock.bind((bench.peer_of(0), 0x0003))
        sock.settimeout(5)
        return sock

    with call_inside(bench.wire, open_here) as sock:
        yield sock


def hear(ear, wanted):
    while True:
        frame = ear.recv(2048)
        if wanted(frame):
            return frame


def test_a_gratuitous_arp_request(bench, plugged, ear):
    vip = ip_address(VIPS["v4"])
    advertise(vip, "eth1", plugged.mac_address, bench.data)
    frame = hear(ear, lambda frame: frame[12:14] == struct.pack("!H", ARP))
    mac = bytes.fromhex(plugged.mac_address.replace(":", ""))
    assert len(frame) == 42
    assert frame[:12] == b"\xff" * 6 + mac
    assert struct.unpack("!HHBBH", frame[14:22]) == (1, 0x0800, 6, 4, 1)
    assert frame[22:42] == mac + vip.packed + b"\xff" * 6 + vip.packed


def is_advertisement(frame):
    return frame[12:14] == struct.pack("!H", IPV6) and frame[20] == socket.IPPROTO_ICMPV6 and frame[54] == 136


def test_an_unsolicited_neighbour_advertisement(bench, plugged, ear):
    vip = ip_address(VIPS["v6"])
    advertise(vip, "eth1", plugged.mac_address, bench.data)
    # The kernel sends one of its own for its link-local address; ours has the address as target.
    frame = hear(ear, lambda frame: is_advertisement(frame) and frame[62:78] == vip.packed)
    mac = bytes.fromhex(plugged.mac_address.replace(":", ""))
    assert frame[:6] == bytes.fromhex("333300000001")
    assert frame[21] == 255, "hop limit"
    assert frame[22:38] == vip.packed
    assert frame[38:54] == ip_address("ff02::1").packed
    assert frame[58:62] == bytes.fromhex("a0000000"), "router and override"
    assert frame[78:] == b"\x02\x01" + mac
    assert checksum_is_right(frame[22:54], frame[54:])


def checksum_is_right(addresses, message):
    data = addresses + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6) + message
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


@pytest.mark.parametrize("vip", VIPS.values())
def test_an_interface_that_is_not_there_is_an_error(bench, vip):
    with pytest.raises(OperationFailed, match="failed to send gratuitous .* on eth9"):
        advertise(ip_address(vip), "eth9", "02:00:00:00:00:01", bench.data)
