# SPDX-License-Identifier: Apache-2.0
"""Every bind of a real haproxy, looked at, and what haproxy notices of it: next to nothing."""

import contextlib
import functools
import os
import socket
import subprocess
import time
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from amphora.errors import ProofFailed
from amphora.haproxy.proof.probe_binds import ProbeResult, probe_binds, probe_seconds
from amphora.haproxy.proof.prove import prove, snapshot
from amphora.testing.pki import Pki

#: All that heartbeats carry of a frontend, and what members and backends see.
CARRIED = ("stot", "scur", "bin", "bout", "ereq", "req_tot", "eresp", "econ", "hrsp_4xx")


@pytest.fixture
def pki(short_dir):
    return Pki(short_dir)


def started(haproxy, text):
    configuration = haproxy.write(text)
    haproxy.spawn()
    return prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)


def look(haproxy, **options):
    return probe_binds(
        haproxy.configuration, {haproxy.stats.worker_pid()}, namespace=haproxy.namespace, **options
    )


def seen(report):
    return [bind.result for bind in report.binds if bind.frontend]


def counters(haproxy, *columns):
    return {
        (row.proxy, row.service): {column: row.number(column) for column in columns}
        for row in haproxy.stats.statistics()
    }


def test_plain_binds_are_reached_and_haproxy_notices_nothing(haproxy, free_port, member, short_dir):
    ports = [free_port() for _ in range(4)]
    started(
        haproxy,
        "defaults\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
        f"frontend h\n mode http\n bind 127.0.0.1:{ports[0]}\n bind ::1:{ports[1]}\n bind :{ports[2]}\n"
        f" bind {short_dir}/f.sock\n bind abns@{short_dir.name}\n http-request return status 200\n"
        f"frontend t\n bind 127.0.0.1:{ports[3]}\n default_backend b\n"
        f"backend b\n server m 127.0.0.1:{member}\n",
    )
    every = (*CARRIED, "conn_tot", "smax", "conn_rate_max")
    before = counters(haproxy, *every)
    for _ in range(20):
        report = look(haproxy)
        assert seen(report) == [ProbeResult.CONNECTED] * 3 + [ProbeResult.HELD] * 2 + [ProbeResult.CONNECTED]
        assert not report.failures()
        assert not report.handshakes
        assert not report.noticed
    assert counters(haproxy, *every) == before


def test_who_listens_beside_the_worker_is_named(haproxy, free_port):
    port = free_port()
    started(haproxy, f"frontend f\n mode http\n timeout client 5s\n bind 127.0.0.1:{port}\n")
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        (bind,) = (bind for bind in look(haproxy).binds if bind.frontend)
    assert f"(pid {os.getpid()}) listens there as well" in bind.note


@pytest.mark.parametrize("limits", ["", "ssl-min-ver TLSv1.3", "ssl-max-ver TLSv1.2"])
@pytest.mark.parametrize("mode", ["http", "tcp"])
def test_a_handshake_compares_the_certificate_and_counts_as_no_session(
    haproxy, free_port, member, pki, limits, mode, eventually
):
    stored = pki.server("a.example").path
    port = free_port()
    started(
        haproxy,
        "defaults\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
        f"frontend f\n mode {mode}\n bind 127.0.0.1:{port} ssl crt {stored} {limits}\n default_backend b\n"
        f"backend b\n mode {mode}\n server m 127.0.0.1:{member}\n",
    )
    before = counters(haproxy, *CARRIED)
    for number in (1, 2, 3):
        report = look(haproxy)
        assert seen(report) == [ProbeResult.CERTIFICATE]
        assert report.handshakes == {"f": 1}
        # Another thread of haproxy closes the connection.
        eventually(lambda: counters(haproxy, *CARRIED) == before)
        assert counters(haproxy, "conn_tot")["f", "FRONTEND"] == {"conn_tot": number}


@pytest.mark.parametrize("option", ["", "option dontlognull"])
def test_only_a_handshake_leaves_a_line_in_the_log(haproxy, free_port, pki, option):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        log.settimeout(1)
        target = f"127.0.0.1:{log.getsockname()[1]}"
        started(
            haproxy,
            f"global\n log {target} local0 info\ndefaults\n mode http\n log global\n {option}\n"
            " option httplog\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
            f"frontend plain\n bind 127.0.0.1:{free_port()}\n http-request return status 200\n"
            f"frontend tls\n bind 127.0.0.1:{free_port()} ssl crt {pki.server('a.example').path}\n",
        )
        lines, deadline = [], time.monotonic() + 20
        while not any(b"SSL handshake" in line for line in lines):
            assert time.monotonic() < deadline
            # A handshake that haproxy sees finished before we leave has no line with dontlognull.
            assert seen(look(haproxy)) == [ProbeResult.CONNECTED, ProbeResult.CERTIFICATE]
            with contextlib.suppress(TimeoutError):
                lines.append(log.recv(4096))
        assert not [line for line in lines if b" plain" in line]


def tls_frontend(port, parameters, name="f"):
    return (
        "defaults\n mode http\n timeout connect 1s\n timeout client 5s\n timeout server 5s\n"
        f"frontend {name}\n bind 127.0.0.1:{port} ssl {parameters}\n http-request return status 200\n"
    )


@pytest.mark.parametrize(
    "parameters",
    [
        "crt {a} crt {b}",
        "crt {directory}",
        "crt-list {list}",
        "crt {a} strict-sni",
        "crt {a} accept-proxy",
        "crt {a} ca-file {ca} verify required",
        "crt {a} ca-file {ca} verify required ssl-max-ver TLSv1.2",
        "crt {a} alpn h2,http/1.1 curves P-384",
    ],
)
def test_certificates_are_found_however_they_are_named(haproxy, free_port, short_dir, pki, parameters):
    a, b = (pki.server(f"{name}.example", file_name=f"{name}.pem").path for name in "ab")
    directory = short_dir / "dir"
    directory.mkdir()
    (directory / "a.pem").write_bytes(a.read_bytes())
    (short_dir / "list").write_text(f"# mine\n{a} [alpn h2] a.example !x.a.example\n{b}\n")
    names = {"a": a, "b": b, "directory": directory, "list": short_dir / "list", "ca": pki.ca_path}
    started(haproxy, tls_frontend(free_port(), parameters.format(**names)))
    report = look(haproxy)
    assert (seen(report), report.failures()) == ([ProbeResult.CERTIFICATE], ())
    assert report.binds[0].note == ""


def test_a_certificate_that_was_not_loaded_is_found_out_until_a_reload(haproxy, free_port, pki):
    old = pki.server("a.example")
    text = tls_frontend(free_port(), f"crt {old.path}")
    started(haproxy, text)
    new = pki.server("a.example")
    (failure,) = look(haproxy).failures()
    stored, served = (_digest(one.certificate_pem) for one in (new, old))
    assert (failure.result, failure.note) == (
        ProbeResult.OTHER_CERTIFICATE,
        f"SHA-256 {served}; stored: {stored}",
    )
    with pytest.raises(ProofFailed, match="serves another certificate"):
        proven(haproxy, deadline=0.3)
    before = snapshot(haproxy.master)
    haproxy.reload()
    evidence = proven(haproxy, before)
    assert evidence.probe.binds[0].result is ProbeResult.CERTIFICATE
    assert "serves its certificate: 1" in str(evidence)


def proven(haproxy, before=None, deadline=10):
    return prove(
        haproxy.master,
        haproxy.stats,
        haproxy.configuration,
        time.monotonic() + deadline,
        before=before,
        probe=functools.partial(probe_binds, namespace=haproxy.namespace),
    )


def _digest(pem):
    certificate = x509.load_pem_x509_certificate(pem)
    return sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def test_what_the_worker_does_not_listen_on_is_unreached(haproxy, serving, free_port):
    started(haproxy, serving(f"127.0.0.1:{free_port()}"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        haproxy.write(serving(f"127.0.0.1:{other.getsockname()[1]}", f"127.0.0.1:{free_port()}"))
        report = look(haproxy)
    assert seen(report) == [ProbeResult.UNREACHED] * 2
    assert "the worker does not listen on port" in str(report.failures()[0])


def test_what_cannot_be_reached_from_here_is_said(make_haproxy, serving, namespace):
    haproxy = make_haproxy(namespace)
    inside = functools.partial(subprocess.run, check=True, timeout=10)
    inside(["ip", "netns", "exec", namespace, "sysctl", "-qw", "net.ipv4.ip_nonlocal_bind=1"])
    inside(["ip", "-n", namespace, "link", "add", "d0", "type", "veth"])
    inside(["ip", "-n", namespace, "addr", "add", "203.0.113.5/24", "dev", "d0"])
    inside(["ip", "-n", namespace, "link", "set", "d0", "up"])
    started(haproxy, serving("203.0.113.9:80", ":81 interface d0", "203.0.113.5:82", "127.0.0.1:90-99"))
    report = look(haproxy)
    assert seen(report) == [ProbeResult.HELD, ProbeResult.HELD, ProbeResult.CONNECTED, ProbeResult.CONNECTED]
    assert [bind.note for bind in report.binds if bind.frontend] == [
        "this machine does not hold the address now",
        "it takes connections from d0 only",
        "",
        "",
    ]


def test_odd_addresses_and_listeners_of_other_kinds_are_found(haproxy, serving, free_port):
    log, peers = free_port(), free_port()
    text = serving(f"::ffff:127.0.0.1:{free_port()}", f"unix@{haproxy.directory}/f.sock".replace("@/", "@"))
    text += f"peers p\n peer me 127.0.0.1:{peers}\nlog-forward l\n bind 127.0.0.1:{log}\n"
    text += f" dgram-bind 127.0.0.1:{log}\n log 127.0.0.1:9 local0\n"
    started(haproxy, f"global\n localpeer me\n{text}")
    report = look(haproxy)
    assert [bind.result for bind in report.binds] == [
        *(ProbeResult.CONNECTED, ProbeResult.HELD),
        ProbeResult.CONNECTED,
        *(ProbeResult.CONNECTED, ProbeResult.HELD),
    ]


def test_a_full_frontend_is_no_failure(haproxy, serving, free_port, eventually):
    port = free_port()
    text = serving(f"127.0.0.1:{port} backlog 1", head="global\n maxconn 1\n")
    started(haproxy, text.replace("frontend f1\n", "frontend f1\n maxconn 1\n backlog 1\n"))
    clients = []
    try:
        for _ in range(6):
            clients.append(socket.socket())
            clients[-1].setblocking(False)
            clients[-1].connect_ex(("127.0.0.1", port))
        report = eventually(lambda: (r := look(haproxy)).binds[0].result is ProbeResult.HELD and r)
        assert report.binds[0].note == "its queue is full"
        assert not report.failures()
    finally:
        for client in clients:
            client.close()


def test_hundreds_of_binds_are_reached_quickly(haproxy, serving, free_port):
    started(haproxy, serving(*(f"127.0.0.1:{free_port()}" for _ in range(300))))
    began = time.monotonic()
    report = look(haproxy)
    seconds = time.monotonic() - began
    assert seen(report) == [ProbeResult.CONNECTED] * 300
    print(f"300 binds in {seconds * 1000:.0f} ms")
    assert seconds < 5
    assert probe_seconds(haproxy.configuration) >= 5


def test_hundreds_of_binds_with_tls_too(haproxy, serving, free_port, pki):
    crt = pki.server("a.example", key="rsa").path
    started(haproxy, serving(*(f"127.0.0.1:{free_port()} ssl crt {crt}" for _ in range(200))))
    began = time.monotonic()
    report = look(haproxy, time_limit=30)
    seconds = time.monotonic() - began
    assert seen(report) == [ProbeResult.CERTIFICATE] * 200
    print(f"200 binds with TLS in {seconds * 1000:.0f} ms")
    assert sum(report.handshakes.values()) == 200
