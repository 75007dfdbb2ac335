# SPDX-License-Identifier: Apache-2.0
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.addresses import Endpoint, EndpointKind, parse_addresses
from amphora.models import IPAddress

TCP, UDP = EndpointKind.TCP, EndpointKind.UDP


@pytest.mark.parametrize(
    ("text", "kind", "host", "ports"),
    [
        ("203.0.113.5:80", TCP, "203.0.113.5", (80,)),
        ("*:80", TCP, "0.0.0.0", (80,)),
        (":80", TCP, "0.0.0.0", (80,)),
        (":::80", TCP, "::", (80,)),
        ("[::]:80", TCP, "::", (80,)),
        ("2001:db8::4:80", TCP, "2001:db8::4", (80,)),
        ("[2001:db8::4]:80", TCP, "2001:db8::4", (80,)),
        ("ipv4@:80", TCP, "0.0.0.0", (80,)),
        ("ipv6@:80", TCP, "::", (80,)),
        ("ipv6@2001:db8::4:80", TCP, "2001:db8::4", (80,)),
        ("tcp6@*:80", TCP, "::", (80,)),
        ("stream+ipv4@1.2.3.4:8", TCP, "1.2.3.4", (8,)),
        ("10.0.0.1:8000-8002", TCP, "10.0.0.1", (8000, 8001, 8002)),
        ("quic4@1.2.3.4:443", UDP, "1.2.3.4", (443,)),
        ("quic6@:443", UDP, "::", (443,)),
        ("udp@1.2.3.4:514", UDP, "1.2.3.4", (514,)),
    ],
)
def test_ip_addresses(text, kind, host, ports):
    (endpoint,) = parse_addresses(text)
    assert (endpoint.kind, endpoint.host, tuple(endpoint.ports)) == (kind, ip_address(host), ports)
    assert endpoint.text == text


@pytest.mark.parametrize(
    ("text", "kind", "path"),
    [
        ("/run/x.sock", EndpointKind.UNIX, "/run/x.sock"),
        ("/run/a@b:1", EndpointKind.UNIX, "/run/a@b:1"),
        ("unix@/run/x.sock", EndpointKind.UNIX, "/run/x.sock"),
        ("unix@relative", EndpointKind.UNIX, "relative"),
        ("abns@name", EndpointKind.ABSTRACT, "name"),
    ],
)
def test_unix_addresses(text, kind, path):
    (endpoint,) = parse_addresses(text)
    assert (endpoint.kind, endpoint.path, endpoint.host) == (kind, path, None)


@pytest.mark.parametrize(
    "text",
    [
        "localhost:80",
        "$VIP:80",
        "1.2.3.4:${PORT}",
        "/run/$X",
        "fd@3",
        "sockpair@3",
        "rhttp@b/s",
        "uxdg@/x",
        "80",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:0",
        "1.2.3.4:65536",
        "1.2.3.4:90-80",
        "1.2.3.4:http",
        "1.2.3.4:+80",
        "[::]",
        "[1.2.3.4]:80",
        "fe80::1%eth0:80",
        "1.2.3:80",
        "010.0.0.1:80",
        "1.2.3.4:٨٠",
        "@:80",
    ],
)
def test_what_only_haproxy_can_tell_is_marked(text):
    assert parse_addresses(text) == (Endpoint(EndpointKind.UNRESOLVABLE, text),)


def test_lists_are_split_and_the_prefix_is_for_unix_paths_only():
    endpoints = parse_addresses(":80,/a,,[::]:81-82", unix_prefix="/run")
    assert [endpoint.text for endpoint in endpoints] == [":80", "/a", "[::]:81-82"]
    assert endpoints[1].path == "/run/a"
    assert endpoints[2].ports == range(81, 83)


def test_datagram_addresses_are_udp_unless_they_say_otherwise():
    kinds = [endpoint.kind for endpoint in parse_addresses(":514,tcp@:514", datagram=True)]
    assert kinds == [UDP, TCP]


PORTS = st.integers(1, 65535)


@given(st.ip_addresses(), PORTS, st.booleans())
def test_every_address_and_port_is_understood(address, port, brackets):
    host = f"[{address}]" if brackets and address.version == 6 else str(address)
    (endpoint,) = parse_addresses(f"{host}:{port}")
    plain = address if address.version == 4 or address.scope_id is None else None
    assert isinstance(endpoint.host, IPAddress)
    assert (endpoint.kind, endpoint.host, endpoint.ports) == (TCP, plain, range(port, port + 1))


@given(st.text(st.sampled_from(list("0123456789abcf:.-[]*@,/$%+ unixvpstcdq"))))
def test_odd_addresses_never_raise(text):
    for endpoint in parse_addresses(text):
        assert endpoint.kind in EndpointKind
        assert (endpoint.host is None) == (len(endpoint.ports) == 0)
