# SPDX-License-Identifier: Apache-2.0
import os
import socket

import pytest

from amphora.haproxy.proof.probe_binds import BindProbe, ProbeReport, ProbeResult, probe_binds, probe_seconds
from amphora.haproxy.reading.configuration import parse
from amphora.testing.pki import Pki

OURS = (os.getpid(),)


def look(binds, workers=OURS, **options):
    text = f"frontend f\n bind {binds}\n"
    return probe_binds(parse(text.encode()), workers, **options)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_socket_of_the_worker_is_connected_to(listener):
    (bind,) = look(f"127.0.0.1:{listener}").binds
    assert bind == BindProbe(2, "f", f"127.0.0.1:{listener}", ProbeResult.CONNECTED)


def test_a_socket_of_another_process_is_not_reached(listener):
    (bind,) = look(f"127.0.0.1:{listener}", (1,)).binds
    assert (bind.result, bind.failed) == (ProbeResult.UNREACHED, True)
    assert str(bind).endswith(f"not reached (the worker does not listen on port {listener})")


@pytest.mark.parametrize(
    ("bind", "note"),
    [
        ("lb.example.com:80", "only haproxy knows the address"),
        ("fd@7", "only haproxy knows the address"),
        (":80 namespace blue", "it is in the network namespace blue"),
    ],
)
def test_what_cannot_be_looked_at_is_said(bind, note):
    (found,) = look(bind).binds
    assert (found.result, found.note, found.failed) == (ProbeResult.UNKNOWN, note, False)


def test_without_time_sockets_are_only_looked_up(listener):
    (bind,) = look(f"127.0.0.1:{listener}", time_limit=-1).binds
    assert (bind.result, bind.note) == (ProbeResult.HELD, "there was no time to connect")


def test_a_range_is_missing_where_one_port_is(listener):
    (bind,) = look(f"127.0.0.1:{listener - 1}-{listener}").binds
    assert bind.result is ProbeResult.UNREACHED


def test_unix_sockets_are_looked_up(short_dir):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.bind(str(short_dir / "x"))
        server.listen()
        abstract.bind(f"\0amp-{os.getpid()}".ljust(108, "\0").encode())
        abstract.listen()
        seen = [b.result for b in look(f"{short_dir}/x,abns@amp-{os.getpid()},{short_dir}/y").binds]
    assert seen == [ProbeResult.HELD, ProbeResult.HELD, ProbeResult.UNREACHED]


def test_tls_that_brings_no_certificate_is_said_and_counted(listener, short_dir):
    crt = Pki(short_dir).server("a.example").path
    report = look(f"127.0.0.1:{listener} ssl crt {crt}", time_limit=0.5)
    (bind,) = report.binds
    assert (bind.result, bind.failed, report.handshakes) == (ProbeResult.CONNECTED, False, {"f": 1})
    assert bind.note.startswith("the handshake brought no certificate")


def test_time_grows_with_the_number_of_binds():
    few, many = (parse(b"frontend f\n" + b" bind :2 ssl\n" * number) for number in (1, 100))
    assert probe_seconds(many) > probe_seconds(few) + 5


def test_reports_add_up_and_speak():
    bind = BindProbe(3, "f", ":80", ProbeResult.CONNECTED)
    other = BindProbe(4, "f", ":81", ProbeResult.HELD, "UDP has no connections")
    first = ProbeReport((bind,), {"f": 1}, {"g": 2})
    second = ProbeReport((bind, other), {"f": 2, "h": 1}).plus(first)
    assert (second.handshakes, second.noticed) == ({"f": 3, "h": 1}, {"g": 2})
    assert str(second) == (
        "binds: 2 (answers: 1, is listened on: 1); line 4: bind :81 is listened on (UDP has no connections)"
    )
    assert str(ProbeReport()) == "binds: 0"
