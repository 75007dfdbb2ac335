# SPDX-License-Identifier: Apache-2.0
"""A real server on a thread, and clients that speak to it."""

from __future__ import annotations

import http.client
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from amphora.server.agent_server import AgentServer
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context
from amphora.testing.pki import Credential, Pki


class RecordingApp:
    """Answers 200 with the body it got, and remembers every environment."""

    def __init__(self) -> None:
        self.calls: list[WSGIEnvironment] = []

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.calls.append(environ)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read() or b"nothing"]


class RunningServer:
    """One server on a thread of its own, with the PKI its clients need."""

    def __init__(self, app: WSGIApplication, settings: ServerSettings, pki: Pki, optional: bool) -> None:
        self.pki = pki
        self.client_context = pki.client_context(pki.client())
        context = build_context(pki.server().path, pki.ca_path, ssl.TLSVersion.TLSv1_2, not optional)
        ready: queue.Queue[tuple[str, int]] = queue.Queue()
        self.server = AgentServer(app, settings, context, on_ready=ready.put)
        self.cut_off: int | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self.address = ready.get(timeout=10)

    def _run(self) -> None:
        self.cut_off = self.server.run()

    def plain(self, source: str = "127.0.0.1") -> socket.socket:
        """Open a TCP connection."""
        return socket.create_connection(self.address, timeout=10, source_address=(source, 0))

    def tls(self, source: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        """Open a TLS connection as the controller."""
        return (context or self.client_context).wrap_socket(
            self.plain(source), server_hostname=self.address[0]
        )

    def https(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        """Make an HTTP client of the controller; the caller closes it."""
        return http.client.HTTPSConnection(*self.address, timeout=10, context=context or self.client_context)

    def get(self, path: str = "/", context: ssl.SSLContext | None = None) -> bytes:
        """GET over a new connection, status 200."""
        client = self.https(context)
        try:
            client.request("GET", path)
            response = client.getresponse()
            assert response.status == 200
            return response.read()
        finally:
            client.close()

    def converse(self, data: bytes) -> bytes:
        """Send bytes over a new TLS connection and return all that comes until it is closed."""
        with self.tls() as client:
            client.sendall(data)
            return receive_all(client)

    def wait(self) -> None:
        """Wait until the server has returned."""
        self._thread.join(timeout=20)
        assert not self._thread.is_alive()


def receive_all(client: socket.socket) -> bytes:
    """Read until the server closes, politely or not."""
    received = b""
    while True:
        try:
            chunk = client.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError):
            return received
        if not chunk:
            return received
        received += chunk


ServeFixture = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def controller(pki: Pki) -> Credential:
    return pki.client("controller.example.com", file_name="controller.pem")


@pytest.fixture
def app() -> RecordingApp:
    return RecordingApp()


@pytest.fixture
def serve(tmp_path: Path, app: RecordingApp) -> Iterator[ServeFixture]:
    """Start servers: ``serve(app, optional=False, **settings)``; all are stopped in the end."""
    servers: list[RunningServer] = []
    pki = Pki(tmp_path)

    def start(wsgi_app: WSGIApplication = app, optional: bool = False, **limits: Any) -> RunningServer:
        settings = ServerSettings(**{"host": "127.0.0.1", "port": 0, "shutdown_grace": 5.0, **limits})
        servers.append(RunningServer(wsgi_app, settings, pki, optional))
        return servers[-1]

    yield start
    for server in servers:
        server.server.stop()
        server.wait()
