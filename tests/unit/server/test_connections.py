# SPDX-License-Identifier: Apache-2.0
import threading
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest


def test_idle_connection_makes_room_for_a_new_one(serve: Any) -> None:
    server = serve(max_connections=2)
    clients = [server.https() for _ in range(3)]
    for client in clients:
        client.request("GET", "/")
        assert client.getresponse().read() == b"nothing"

    assert clients[0].sock.recv(1) == b""
    for client in clients[1:]:
        client.request("GET", "/")
        assert client.getresponse().read() == b"nothing"
    for client in clients:
        client.close()


def test_busy_connections_are_not_sacrificed(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    release, entered = threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        entered.set()
        assert release.wait(10)
        start_response("200 OK", [])
        return [b"done"]

    server = serve(app, max_connections=1)
    busy = server.https()
    try:
        busy.request("GET", "/")
        assert entered.wait(10)
        with pytest.raises(OSError):  # noqa: PT011  reset or end of file, as the timing falls
            server.get()
        release.set()
        assert busy.getresponse().read() == b"done"
    finally:
        release.set()
        busy.close()
    assert "All 1 connections are busy: closed a new one from 127.0.0.1" in caplog.messages
