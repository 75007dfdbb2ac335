# SPDX-License-Identifier: Apache-2.0
import contextlib
import gc
import json
import logging
import re
import socket
import ssl
import struct
import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from amphora.server.http_protocol import AgentHttpProtocol

GET = b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"


def split(response: bytes) -> tuple[bytes, dict[str, str], bytes]:
    head, _, body = response.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    return status, {k.decode().lower(): v.decode() for k, _, v in (n.partition(b": ") for n in lines)}, body


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\nNo-Host: h\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1x\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 100_000,
        b"GET / HTTP/9.9\r\nHost: h\r\n\r\n",
        b"PUT / HTTP/2.0\r\nHost: h\r\nContent-Length: 1\r\n\r\nx",
        b"GET / HTTP/0.9\r\nHost: h\r\n\r\n",
    ],
    ids=["line", "host", "length", "lengths", "encoding", "chunk", "head", "9.9", "2.0", "0.9"],
)
def test_invalid_requests_get_json(
    serve: Any, app: Any, caplog: pytest.LogCaptureFixture, request_bytes: bytes
) -> None:
    status, headers, body = split(serve().converse(request_bytes))

    assert status == b"HTTP/1.1 400 Bad Request"
    assert json.loads(body)["message"] == "Invalid request"
    assert json.loads(body)["details"]
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req-")
    assert headers["server"] == "amphora-agent"
    assert app.calls == []
    assert [(record.levelno, record.exc_info) for record in caplog.records] == [(logging.WARNING, None)]
    assert caplog.messages[0].startswith("Invalid HTTP request from 127.0.0.1: ")


def test_both_kinds_of_length_are_refused_through_the_application(serve: Any, app: Any) -> None:
    both = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    _, headers, body = split(serve().converse(both))

    assert headers["connection"] == "close"
    assert body == b"nothing"
    assert "both" in app.calls[0]["amphora.body_error"]


def test_answers_carry_our_name_and_the_time(serve: Any) -> None:
    client = serve().https()
    client.request("GET", "/")
    headers = client.getresponse().headers
    client.close()

    assert headers["Server"] == "amphora-agent"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["Date"])
    assert headers["Content-Length"] == "7"


def test_pipelined_requests_are_answered_in_order(serve: Any, app: Any) -> None:
    count = 20
    put = b"PUT /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend"
    received = serve().converse(b"".join(GET % n for n in range(count)) + put)

    assert received.count(b"HTTP/1.1 200 ") == count + 1
    assert received.endswith(b"end")
    assert [call["PATH_INFO"] for call in app.calls] == [*(f"/{n}" for n in range(count)), "/last"]


def test_head_has_the_size_but_no_body(serve: Any) -> None:
    request = b"HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    _, headers, body = split(serve().converse(request))

    assert headers["content-length"] == "7"
    assert body == b""


def test_http_1_0_is_served_and_closed(serve: Any) -> None:
    status, _, body = split(serve().converse(b"GET / HTTP/1.0\r\n\r\n"))

    assert status == b"HTTP/1.1 200 OK"
    assert body == b"nothing"


def test_later_minor_version_is_served_as_the_one_known(serve: Any) -> None:
    request = b"GET / HTTP/1.2\r\nHost: h\r\nConnection: close\r\n\r\n"
    status, _, body = split(serve().converse(request))

    assert status == b"HTTP/1.1 200 OK"
    assert body == b"nothing"


@pytest.mark.parametrize("protocol", [b"websocket", b"h2c"])
def test_upgrade_is_an_ordinary_request(
    serve: Any, caplog: pytest.LogCaptureFixture, protocol: bytes
) -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: " + protocol + b"\r\n\r\n"
    status, _, _ = split(serve(idle_timeout=1).converse(request))

    assert status == b"HTTP/1.1 200 OK"
    assert caplog.records == []


SLOW = {"header_timeout": 60.0, "request_read_timeout": 60.0, "idle_timeout": 60.0}


@pytest.mark.parametrize(
    ("limit", "data", "answers"),
    [
        ("header_timeout", b"", 0),
        ("header_timeout", b"GET / HTTP/1.1\r\nHo", 0),
        ("header_timeout", GET % 1 + b"GET ", 1),
        ("request_read_timeout", b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhal", 0),
        ("request_read_timeout", b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx", 0),
        ("idle_timeout", GET % 1, 1),
    ],
)
def test_silence_is_limited(serve: Any, app: Any, limit: str, data: bytes, answers: int) -> None:
    server = serve(**{**SLOW, limit: 0.3})
    started = time.monotonic()

    assert server.converse(data).count(b"HTTP/1.1 200") == answers
    assert 0.2 < time.monotonic() - started < 5
    assert len(app.calls) == answers


def test_trickle_does_not_extend_the_time_for_a_head(serve: Any) -> None:
    with serve(header_timeout=0.5).tls() as client:
        started = time.monotonic()
        client.settimeout(0.05)
        ended = False
        while not ended and time.monotonic() - started < 5:
            try:
                client.sendall(b"G")
                ended = not client.recv(1)
            except TimeoutError:
                continue
            except OSError:
                ended = True

        assert ended
        assert 0.4 < time.monotonic() - started < 3


def test_long_request_is_under_no_read_limit(serve: Any) -> None:
    finish = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        finish.wait(1.0)
        start_response("200 OK", [])
        return [b"done"]

    server = serve(app, header_timeout=0.2, request_read_timeout=0.2, idle_timeout=1, write_timeout=0.2)

    assert server.get() == b"done"


@pytest.mark.parametrize("request_bytes", [GET % 1, b"nonsense\r\n\r\n"])
def test_reset_connection_is_freed_at_once(serve: Any, request_bytes: bytes) -> None:
    gc.collect()
    gc.disable()
    try:
        before = weakref.WeakSet(live_protocols())
        with serve(idle_timeout=60).tls() as client:
            client.sendall(request_bytes)
            client.recv(1000)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        deadline = time.monotonic() + 5
        while (left := sum(each not in before for each in live_protocols())) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        gc.enable()

    assert left == 0


def live_protocols() -> list[AgentHttpProtocol]:
    return [thing for thing in gc.get_objects() if isinstance(thing, AgentHttpProtocol)]


def test_nobody_is_believed_about_another_address(serve: Any, app: Any) -> None:
    with serve().tls() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
        client.recv(1000)

    assert app.calls[0]["REMOTE_ADDR"] == "127.0.0.1"


def big_app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"x" * 1_000_000]


def silent_reader(server: Any) -> ssl.SSLSocket:
    """Connect with so small a receive buffer that answers pile up in the server."""
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(10)
    plain.connect(server.address)
    return server.client_context.wrap_socket(plain, server_hostname="127.0.0.1")


def send_until_refused(client: ssl.SSLSocket) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        client.sendall(b"\r\n")
        time.sleep(0.05)


def test_client_that_does_not_read_is_cut_off(serve: Any) -> None:
    calls: list[float] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        calls.append(time.monotonic())
        return big_app(environ, start_response)

    server = serve(app, write_timeout=0.3, idle_timeout=60)
    with silent_reader(server) as client:
        client.sendall(b"".join(GET % n for n in range(50)))
        with pytest.raises(OSError):  # noqa: PT011  reset or broken pipe, as the timing falls
            send_until_refused(client)

    assert 0 < len(calls) < 50


def test_slow_reader_gets_everything(serve: Any) -> None:
    server = serve(big_app, write_timeout=5)
    with silent_reader(server) as client:
        client.sendall(b"".join(GET % n for n in range(10)))
        received = 0
        while received < 10_000_000:
            received += len(client.recv(65536))

    assert received > 10_000_000


def test_stop_does_not_wait_for_a_client_that_does_not_read(serve: Any) -> None:
    server = serve(big_app, idle_timeout=60, shutdown_grace=60)
    with silent_reader(server) as client:
        client.sendall(GET % 1)
        assert client.recv(1) == b"H"
        started = time.monotonic()
        server.server.stop()
        server.wait()

    assert time.monotonic() - started < 5
    assert server.cut_off == 0


def test_garbage_after_a_refused_body_does_not_spoil_the_answer(serve: Any, app: Any) -> None:
    chunked = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n"
    with serve(max_body=3).tls() as client:
        client.sendall(chunked)
        received = client.recv(1000)
        client.sendall(b"this is no chunk\r\n")
        received += receive_all(client)

    assert received.count(b"HTTP/1.1 ") == 1
    assert received.endswith(b"nothing")
    assert app.calls[0]["amphora.body_error"] == "The request body has more than 3 bytes."


def test_what_follows_an_invalid_request_is_ignored(serve: Any, app: Any) -> None:
    with serve().tls() as client:
        client.sendall(b"nonsense\r\n\r\n")
        received = client.recv(1000)
        client.sendall(GET % 1)
        received += receive_all(client)

    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert app.calls == []


def receive_all(client: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while chunk := client.recv(65536):
            received += chunk
    return received
