# SPDX-License-Identifier: Apache-2.0
import asyncio
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest

from amphora.errors import ConfigurationError
from amphora.server.agent_server import AgentServer
from amphora.server.listener import open_listener
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context


class BlockingApp:
    """Holds each request until it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.entered.set()
        self.release.wait(20)
        start_response("200 OK", [])
        return [b"finished"]


def test_stop_finishes_running_requests_and_accepts_no_more(serve: Any) -> None:
    app = BlockingApp()
    server = serve(app)
    idle = server.plain()
    client = server.https()
    client.request("PUT", "/")
    assert app.entered.wait(10)

    server.server.stop()
    assert idle.recv(1) == b""  # the listening socket was closed before
    with pytest.raises(ConnectionRefusedError):
        server.plain()
    app.release.set()

    assert client.getresponse().read() == b"finished"
    server.wait()
    assert server.cut_off == 0
    client.close()
    idle.close()


def test_stop_does_not_wait_for_idle_connections(serve: Any) -> None:
    server = serve(shutdown_grace=60)
    client = server.https()
    client.request("GET", "/")
    client.getresponse().read()
    started = time.monotonic()

    server.server.stop()
    assert client.sock.recv(1) == b""
    client.close()
    server.wait()

    assert time.monotonic() - started < 5


def test_grace_ends_and_the_cut_off_are_counted(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    app = BlockingApp()
    server = serve(app, shutdown_grace=0.2)
    client = server.https()
    client.request("PUT", "/stuck")
    assert app.entered.wait(10)

    server.server.stop()
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        client.getresponse()
    server.wait()
    app.release.set()
    client.close()

    assert server.cut_off == 1
    assert caplog.messages == ["PUT /stuck did not finish before the server stopped"]


def test_stop_before_run_is_not_forgotten(serve: Any, tmp_path: Path) -> None:
    running = serve()
    context = build_context(running.pki.server().path, running.pki.ca_path, ssl.TLSVersion.TLSv1_2)
    ready: list[object] = []
    server = AgentServer(
        lambda _environ, _start: [], ServerSettings("127.0.0.1", 0), context, on_ready=ready.append
    )
    server.stop()

    assert server.run() == 0
    assert len(ready) == 1


def test_taken_port_is_raised(serve: Any) -> None:
    running = serve()
    context = build_context(running.pki.server().path, running.pki.ca_path, ssl.TLSVersion.TLSv1_2)
    with open_listener("127.0.0.1", 0) as listener:
        settings = ServerSettings("127.0.0.1", listener.getsockname()[1])
        server = AgentServer(lambda _environ, _start: [], settings, context, on_ready=lambda _: None)
        with pytest.raises(ConfigurationError, match="Address already in use"):
            server.run()


def served_certificate(server: Any) -> bytes:
    with server.tls() as client:
        return bytes(client.getpeercert(binary_form=True))


def test_certificate_is_replaced_and_no_connection_is_lost(serve: Any) -> None:
    server = serve()
    kept = server.https()
    kept.request("GET", "/")
    kept.getresponse().read()
    kept_socket: socket.socket = kept.sock
    before = served_certificate(server)

    renewed = server.pki.server(file_name="renewed.pem")
    context = build_context(renewed.path, server.pki.ca_path, ssl.TLSVersion.TLSv1_2)
    server.server.replace_tls_context(context)

    assert served_certificate(server) == ssl.PEM_cert_to_DER_cert(renewed.certificate_pem.decode()) != before
    kept.request("GET", "/")
    assert kept.getresponse().status == 200
    assert kept.sock is kept_socket
    kept.close()


def test_fault_on_the_loop_is_logged_and_survived(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    running = serve()
    context = build_context(running.pki.server().path, running.pki.ca_path, ssl.TLSVersion.TLSv1_2)

    def fail_then_stop(_address: object) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: 1 / 0)
        loop.call_soon(server.stop)

    settings = ServerSettings("127.0.0.1", 0)
    server = AgentServer(lambda _environ, _start: [], settings, context, on_ready=fail_then_stop)

    assert server.run() == 0
    assert [record.exc_info is not None for record in caplog.records] == [True]
