# SPDX-License-Identifier: Apache-2.0
import os
import socket

import pytest

from amphora.haproxy.preflight.bind_checks import bind_findings
from amphora.haproxy.preflight.findings import Finding, Severity
from amphora.haproxy.reading.configuration import parse
from amphora.system.sockets import process_name

OURS = (os.getpid(),)
MYSELF = f"in use by {process_name(os.getpid())} (pid {os.getpid()})"


@pytest.fixture
def listener():
    """Make listening TCP sockets, all with SO_REUSEPORT, as haproxy does."""
    made = []

    def make(address="127.0.0.1", port=0, v6only=None):
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.bind((address, port))
        sock.listen()
        return sock.getsockname()[1]

    yield make
    for sock in made:
        sock.close()


@pytest.fixture
def free_port():
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::", 0))
        return sock.getsockname()[1]


def findings(binds, owners=(), head="", **options):
    text = f"{head}frontend f\n bind {binds}\n"
    return bind_findings(parse(text.encode()), "", owners, **options)


def taken(address):
    return Finding(2, f"bind {address}", MYSELF, Severity.REFUSES_START)


def reasons(binds, owners=(), head=""):
    return [finding.reason for finding in findings(binds, owners, head)]


@pytest.mark.parametrize("host", ["127.0.0.1", "", "::1", "::", "[::1]"])
def test_a_free_port_is_no_finding(free_port, host):
    assert findings(f"{host}:{free_port}") == ()


def test_a_taken_port_names_line_address_and_holder(listener):
    port = listener()
    assert findings(f"127.0.0.1:{port}") == (taken(f"127.0.0.1:{port}"),)
    assert str(findings(f":{port}")[0]) == f"line 2: bind :{port}: {MYSELF}"


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_what_the_running_process_listens_on_is_handed_over(listener, bound):
    port = listener(bound)
    assert findings(f"{bound}:{port}", OURS) == ()
    assert reasons(f"{bound}:{port}") == [MYSELF]


@pytest.mark.parametrize(
    ("bound", "v6only", "wanted", "taken"),
    [
        ("0.0.0.0", None, "127.0.0.1:{}", True),
        ("127.0.0.1", None, "*:{}", True),
        ("127.0.0.1", None, "127.0.0.2:{}", False),
        ("::", 0, "127.0.0.1:{}", True),
        ("::", 1, "127.0.0.1:{}", False),
        ("127.0.0.1", None, ":::{} v4v6", True),
        ("127.0.0.1", None, ":::{} v6only", False),
        ("127.0.0.1", None, "::1:{}", False),
        ("::1", None, ":::{} v6only", True),
    ],
)
def test_overlaps(listener, bound, v6only, wanted, taken):
    port = listener(bound, v6only=v6only)
    assert reasons(wanted.format(port)) == ([MYSELF] if taken else [])
    assert reasons(wanted.format(port), OURS) == []


def test_a_probe_does_not_disturb_a_listener(listener):
    port = listener()
    for _ in range(50):
        findings(f"127.0.0.1:{port}", OURS)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        assert client.getpeername()[1] == port


def test_past_connections_do_not_count():
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        address = server.getsockname()
        with socket.create_connection(address) as client:
            server.accept()[0].close()
            assert client.recv(1) == b""
    # The server closed first, so its side is in TIME_WAIT: a plain bind fails.
    with socket.socket() as plain, pytest.raises(OSError, match="in use"):
        plain.bind(address)
    assert findings(f"127.0.0.1:{address[1]}") == ()


def test_ranges_are_probed_port_by_port(listener):
    port = listener()
    first, last = max(port - 2, 1), min(port + 2, 65535)
    assert taken(f"127.0.0.1:{port}") in findings(f"127.0.0.1:{first}-{last}")
    assert len(findings("203.0.113.250:20000-29999")) == 100


def test_time_is_limited():
    assert findings("203.0.113.250:20000-29999", time_limit=0) == ()


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("203.0.113.250:8080", "no interface has this address, and binding to foreign addresses is off"),
        ("2001:db8::250:8080", "no interface has this address, and binding to foreign addresses is off"),
        (":8080 interface amp-none", "there is no interface amp-none"),
        ("/amp-no-such-dir/x.sock", "directory /amp-no-such-dir does not exist"),
    ],
)
def test_reasons(bind, reason):
    assert reasons(bind) == [reason]


@pytest.mark.parametrize(
    "bind",
    [
        "203.0.113.250:{} transparent",
        "2001:db8::250:{} transparent",
        "lb.example.com:{}",
        "fd@7",
        "203.0.113.250:{} namespace blue",
        ":{} interface lo",
    ],
)
def test_no_finding(bind, free_port):
    assert findings(bind.format(free_port)) == ()


@pytest.fixture
def ordinary_user():
    """Give up privileges for a while, if there are any."""
    user = os.geteuid()
    os.seteuid(user or 65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("ordinary_user")
def test_ordinary_users_are_told_what_they_may_not():
    assert reasons("127.0.0.1:99") == ["permission denied; ports below 1024 need privileges"]
    assert reasons("/etc/x.sock") == ["directory /etc is not writable"]


def test_udp_ports_are_told_from_tcp_ones(free_port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", free_port))
        assert reasons(f"quic4@127.0.0.1:{free_port}") == [MYSELF]
        assert reasons(f"quic4@127.0.0.1:{free_port}", OURS) == []
        assert reasons(f"127.0.0.1:{free_port}") == []


def test_a_socket_that_only_holds_a_port_has_no_known_holder():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        assert reasons(f"127.0.0.1:{sock.getsockname()[1]}") == ["in use by another process"]


@pytest.mark.parametrize("address", ["{}/x.sock", "unix@{}/x.sock"])
def test_unix_sockets_of_others_are_findings(short_dir, address):
    text = address.format(short_dir)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_dir / "x.sock"))
        assert findings(text) == ()
        sock.listen()
        assert findings(text) == (taken(text),)
        assert findings(text, OURS) == ()
    assert findings(text) == ()


def test_a_directory_is_no_place_for_a_socket(short_dir):
    assert reasons(str(short_dir)) == ["it is a directory"]


def test_abstract_sockets_of_others_are_findings():
    name = f"amp-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}".ljust(108, "\0").encode())
        sock.listen()
        assert reasons(f"abns@{name}") == [MYSELF]
        assert reasons(f"abns@{name}", OURS) == []
    assert reasons(f"abns@{name}") == []


def test_stats_sockets_and_the_local_peer_are_probed_too(listener):
    port = listener()
    text = (
        f"global\n stats socket /amp-none/x\npeers p\n peer me 127.0.0.1:{port}\n peer you 127.0.0.1:{port}\n"
    )
    found = bind_findings(parse(text.encode()), "", (), local_peer="me")
    assert [finding.line for finding in found] == [4, 2]


@pytest.mark.parametrize(
    ("binds", "repeated"),
    [
        ("127.0.0.1:{0},127.0.0.1:{0}", 1),
        ("127.0.0.1:{0},*:{0}", 1),
        ("127.0.0.1:{0},::1:{0}", 0),
        ("*:{0},:::{0}", 1),
        (":::{0},127.0.0.1:{0}", 1),
        ("*:{0},:::{0} v6only", 0),
    ],
)
def test_binding_twice_is_a_finding_only_with_noreuseport(free_port, binds, repeated):
    text = binds.format(free_port)
    assert reasons(text) == []
    assert (
        reasons(text, head="global\n noreuseport\n") == ["bound twice, which noreuseport forbids"] * repeated
    )
