# SPDX-License-Identifier: Apache-2.0
"""``/proc/net/ip_vs`` in the kernel's own form (net/netfilter/ipvs/ip_vs_ctl.c)."""

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from amphora.lvs.ipvs_table import (
    Endpoint,
    IpvsServer,
    IpvsService,
    VirtualService,
    is_available,
    parse_table,
    read_table,
    read_table_from,
)

PORTS = st.integers(0, 65535)
COUNTS = st.integers(0, 2**31 - 1)
V4 = st.builds(Endpoint, st.ip_addresses(v=4), PORTS)
V6 = st.builds(Endpoint, st.ip_addresses(v=6), PORTS)


def of_family(endpoints):
    servers = st.lists(st.builds(IpvsServer, endpoints, COUNTS, COUNTS), max_size=4)
    services = st.builds(VirtualService, st.sampled_from(["UDP", "SCTP", "TCP"]), endpoints)
    return st.builds(IpvsService, services, servers)


def written(endpoint):
    address = endpoint.address
    # Groups of hexadecimal digits throughout, while some Pythons write the end of ::ffff:0.0.0.0 in decimal.
    groups = ":".join(address.packed[at : at + 2].hex() for at in range(0, len(address.packed), 2))
    host = f"{int(address):08X}" if address.version == 4 else f"[{groups}]"
    return f"{host}:{endpoint.port:04X}"


def rows(services):
    for each in services:
        yield f"{each.service.protocol:<4} {written(each.service.endpoint)} wrr \n"
        for server in each.servers:
            yield (
                f"  -> {written(server.endpoint)}      {'Masq':<7} {server.weight:<6} {server.active:<10} "
                f"{0:<10}\n"
            )


def test_both_families_weight_0_a_service_without_servers_and_no_firewall_marks(golden):
    table = parse_table(golden("ip_vs").decode().splitlines())
    assert [(str(each.service), len(each.servers)) for each in table] == [
        ("UDP 203.0.113.2:53", 2),
        ("UDP 203.0.113.9:53", 2),
        ("UDP [2001:db8::4]:53", 1),
        ("SCTP 203.0.113.2:2905", 0),
    ]
    assert table[0].servers[1] == IpvsServer(Endpoint(IPv4Address("10.0.0.3"), 5353), 0, 1)
    assert table[2].servers == [IpvsServer(Endpoint(IPv6Address("2001:db8::99"), 53), 1, 11)]


def test_a_kernel_without_ipvs_has_no_services(short_dir):
    assert read_table_from(short_dir / "ip_vs") == ()
    assert is_available() or read_table() == ()


def test_the_file_is_read(short_dir, golden):
    (short_dir / "ip_vs").write_bytes(golden("ip_vs"))
    assert len(read_table_from(short_dir / "ip_vs")) == 4


@given(st.lists(st.one_of(of_family(V4), of_family(V6)), max_size=6))
def test_what_the_kernel_writes_is_read_back(services):
    assert parse_table(rows(services)) == tuple(services)


@given(st.text(alphabet="0123456789ABCDEFUDP []:->\n", max_size=300))
def test_odd_text_never_raises(text):
    for each in parse_table(text.splitlines()):
        assert 0 <= each.service.endpoint.port <= 65535
