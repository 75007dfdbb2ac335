# SPDX-License-Identifier: Apache-2.0
import contextlib
import logging
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from amphora.server.lobby import handshake_fault, hello_size
from amphora.testing.pki import Pki


def client_hello(pki: Pki) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = pki.client_context(None).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def test_real_hello_is_exactly_one_record(pki: Pki) -> None:
    hello = client_hello(pki)

    assert hello_size(hello) == len(hello)
    assert hello_size(hello[:5]) == len(hello)
    assert [hello_size(hello[:n]) for n in range(5)] == [5] * 5


@given(st.binary(max_size=40))
@example(b"GET / HTTP/1.1\r\n")
@example(b"\x16\x03\x01\x00\x00")
@example(b"\x16\x03\x01\x40\x01")
@example(b"\x16\x02\x01\x00\x01")
def test_size_is_known_exactly_when_it_may_be_tls(data: bytes) -> None:
    size = hello_size(data)
    if len(data) >= 5 and data[:2] == b"\x16\x03" and 1 <= data[3] * 256 + data[4] <= 16384:
        assert size == 5 + data[3] * 256 + data[4]
    elif len(data) < 5 and data[:1] in (b"", b"\x16"):
        assert size == 5
    else:
        assert size is None


@pytest.mark.parametrize("first", [b"", b"\x16", b"\x16\x03\x01\x02\x00half"])
def test_silent_stranger_is_closed_after_a_while(serve: Any, first: bytes) -> None:
    client = serve(hello_timeout=0.2).plain()
    started = time.monotonic()
    client.sendall(first)

    assert closed(client)
    assert 0.1 < time.monotonic() - started < 3


def test_stranger_who_stops_in_the_handshake_is_closed(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = serve(handshake_timeout=0.2)
    client = server.plain()
    client.sendall(client_hello(server.pki))
    assert client.recv(5)[:2] == b"\x16\x03"

    assert closed(client)
    server.server.stop()
    server.wait()
    assert any("127.0.0.1 failed: SSL handshake is taking longer" in message for message in caplog.messages)


def test_other_protocols_are_closed_at_once(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    client = serve(hello_timeout=60).plain()
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")

    assert closed(client)
    assert "Connection from 127.0.0.1 closed: it does not speak TLS" in caplog.messages


def test_hello_may_come_byte_by_byte(serve: Any) -> None:
    server = serve()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = server.client_context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with server.plain() as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        for byte in outgoing.read():
            client.sendall(bytes([byte]))
        incoming.write(client.recv(65536))
        assert session.do_handshake() is None
        session.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.sendall(outgoing.read())
        while not session.pending():
            incoming.write(client.recv(65536))
            with contextlib.suppress(ssl.SSLWantReadError):
                assert session.read(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("complete", [False, True])
def test_newest_strangers_push_out_the_oldest(serve: Any, complete: bool) -> None:
    limits = {"max_handshakes": 3} if complete else {"max_unauthenticated_per_source": 3}
    server = serve(hello_timeout=60, handshake_timeout=60, **limits)
    first = client_hello(server.pki) if complete else b"\x16"
    strangers = []
    for _ in range(5):
        strangers.append(server.plain())
        strangers[-1].sendall(first)
        if complete:
            assert strangers[-1].recv(5)

    assert all(closed(stranger) for stranger in strangers[:2])
    assert server.get() == b"nothing"
    for stranger in strangers[2:]:
        stranger.close()


def test_other_sources_keep_their_place(serve: Any) -> None:
    server = serve(hello_timeout=60, max_unauthenticated=4)
    early = server.plain(source="127.0.0.2")
    flood = [server.plain() for _ in range(20)]
    assert all(closed(stranger) for stranger in flood[:16])

    with server.client_context.wrap_socket(early, server_hostname="127.0.0.1") as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
    for stranger in flood:
        stranger.close()


def closed(client: socket.socket) -> bool:
    """Wait for the end of a connection, whatever comes before it."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    client.close()
    return True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionResetError(), "the client closed the connection"),
        (ConnectionAbortedError("too long"), "too long"),
        (ConnectionAbortedError(), "ConnectionAbortedError"),
    ],
)
def test_faults_have_words(error: OSError, words: str) -> None:
    assert handshake_fault(error) == words


def test_burst_of_controllers_is_served_completely(serve: Any) -> None:
    server = serve(max_handshakes=2)
    with ThreadPoolExecutor(60) as clients:
        answers = list(clients.map(lambda _: server.get(), range(120)))

    assert answers == [b"nothing"] * 120


def test_leaving_the_queue_is_noticed(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = serve(hello_timeout=60, handshake_timeout=60, max_handshakes=1)
    hello = client_hello(server.pki)
    stuck = server.plain()
    stuck.sendall(hello)
    assert stuck.recv(5)
    for _ in range(30):
        with server.plain() as leaving:
            leaving.sendall(hello)
    started = time.monotonic()

    assert [server.get() for _ in range(3)] == [b"nothing"] * 3
    assert time.monotonic() - started < 2
    assert not any("the client closed" in message for message in caplog.messages)  # none was begun
    stuck.close()
