# SPDX-License-Identifier: Apache-2.0
import asyncio
import http.client
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.server.application import read_body
from amphora.server.wsgi import RequestBody


def read(headers: list[tuple[bytes, bytes]], events: Iterable[h11.Event], limit: int) -> RequestBody | None:
    waiting: Iterator[h11.Event] = iter(events)

    async def receive() -> h11.Event:
        return next(waiting)

    return asyncio.run(read_body(headers, receive, limit))


def parts(chunks: list[bytes], complete: bool = True) -> list[h11.Event]:
    return [*(h11.Data(c) for c in chunks), h11.EndOfMessage() if complete else h11.ConnectionClosed()]


@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 120))
def test_body_is_whole_or_refused(chunks: list[bytes], limit: int) -> None:
    body = read([], parts(chunks), limit)
    sent = b"".join(chunks)

    assert body is not None
    assert body.stream.read() == (sent if len(sent) <= limit else b"")
    assert bool(body.error) == (len(sent) > limit)


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_truncated_body_is_no_body(chunks: list[bytes]) -> None:
    assert read([], parts(chunks, complete=False), limit=1000) is None


def test_announced_size_is_refused_before_reading() -> None:
    body = read([(b"content-length", b"1001")], [], limit=1000)

    assert body is not None
    assert body.error == "The request body has 1001 bytes; at most 1000 bytes are accepted."
    assert body.unread


def test_two_kinds_of_length_are_refused() -> None:
    body = read([(b"content-length", b"1"), (b"transfer-encoding", b"chunked")], [], limit=1000)

    assert body is not None
    assert "both" in body.error


class TwoQueuesApp:
    """PUT waits until it is released, everything else answers at once."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.entered = threading.Semaphore(0)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] == "PUT":
            self.entered.release()
            assert self.release.wait(10)
        start_response("200 OK", [])
        return [environ["REQUEST_METHOD"].encode()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads_do_not_queue_behind_changes(serve: Any, method: str) -> None:
    app = TwoQueuesApp()
    server = serve(app, change_workers=1)
    clients = [server.https() for _ in range(3)]
    try:
        for client in clients[:2]:
            client.request("PUT", "/")
        assert app.entered.acquire(timeout=10)
        clients[2].request(method, "/")
        assert clients[2].getresponse().status == 200
        assert not app.release.is_set()
        app.release.set()
        assert [client.getresponse().read() for client in clients[:2]] == [b"PUT", b"PUT"]
    finally:
        app.release.set()
        for client in clients:
            client.close()


def test_slow_bodies_hold_no_thread(serve: Any, app: Any) -> None:
    server = serve(change_workers=1)
    slow = [server.tls() for _ in range(5)]
    try:
        for client in slow:
            client.sendall(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhal")
        quick = server.https()
        quick.request("PUT", "/", body=b"quick")
        assert quick.getresponse().read() == b"quick"
        quick.close()
        assert len(app.calls) == 1
        slow[0].sendall(b"ve")
        assert slow[0].recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        for client in slow:
            client.close()


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
def test_truncated_body_never_reaches_the_application(serve: Any, app: Any, head: bytes) -> None:
    server = serve()
    truncated = b"3\r\nabc\r\n" if b"chunked" in head else b"abc"
    for politely in (True, False):
        client = server.tls()
        client.sendall(b"PUT /cut HTTP/1.1\r\nHost: h\r\n" + head + b"\r\n\r\n" + truncated)
        (client.unwrap() if politely else client).close()
    server.get("/after")
    server.server.stop()
    server.wait()

    assert [call["PATH_INFO"] for call in app.calls] == ["/after"]


def body_error_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    error = environ.get("amphora.body_error", "")
    start_response("400 Bad Request" if error else "200 OK", [])
    return [error.encode() + environ["wsgi.input"].read()[:9]]


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_body_is_answered_although_all_of_it_was_sent(serve: Any, chunked: bool) -> None:
    server = serve(body_error_app, max_body=1000)
    client = server.https()
    sent = b"x" * 3_000_000
    client.request("PUT", "/", body=iter([sent]) if chunked else sent, encode_chunked=chunked)
    response = client.getresponse()

    assert response.status == 400
    assert response.headers["Connection"] == "close"
    assert b"1000 bytes" in response.read()
    assert response.will_close
    client.close()
    server.get()


def test_body_at_the_limit_is_accepted(serve: Any) -> None:
    client = serve(body_error_app, max_body=1000).https()
    for _ in range(2):
        client.request("PUT", "/", body=b"x" * 1000)
        assert client.getresponse().read() == b"xxxxxxxxx"
    client.close()


def test_continue_is_sent_only_for_a_body_that_is_wanted(serve: Any) -> None:
    server = serve(body_error_app, max_body=1000)
    head = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: "
    with server.tls() as client:
        client.sendall(head + b"3\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"abc")
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    with server.tls() as client:
        client.sendall(head + b"1001\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_fault_of_the_application_keeps_the_connection(serve: Any) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise ZeroDivisionError

    client = serve(app).https()
    client.request("GET", "/")
    first = client.getresponse()
    first.read()
    sock = client.sock
    client.request("GET", "/")

    assert (first.status, client.getresponse().status) == (500, 500)
    assert client.sock is sock
    client.close()


def test_many_clients_at_once(serve: Any) -> None:
    server = serve()

    def put(number: int) -> bool:
        client = server.https()
        sent = str(number).encode() * 5000
        client.request("PUT", f"/{number}", body=sent)
        response: http.client.HTTPResponse = client.getresponse()
        received = response.read()
        client.close()
        return received == sent

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(put, range(100)))
