# SPDX-License-Identifier: Apache-2.0
"""Servers behind a load balancer that tell what reached them."""

from __future__ import annotations

import json
import socketserver
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from amphora.system.namespaces import call_inside
from amphora.testing.pki import Pki

_V2_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


class _Handler(BaseHTTPRequestHandler):
    name = ""
    proxied = False

    def setup(self):
        super().setup()
        self.connection.settimeout(10)
        self.proxy = self._proxy_header() if self.proxied else ""

    def do_GET(self):
        peer = self.connection.getpeercert() if isinstance(self.connection, ssl.SSLSocket) else None
        seen = {
            "member": self.name,
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
            "proxy": self.proxy,
            "client_certificate": bool(peer),
        }
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _proxy_header(self):
        """Return the header of the PROXY protocol, either version, as text."""
        start = self.rfile.read(12)
        if start != _V2_SIGNATURE:
            return (start + self.rfile.readline()).decode().strip()
        _command, family, length = self.rfile.read(1), self.rfile.read(1), self.rfile.read(2)
        return f"v2 {family.hex()} {self.rfile.read(int.from_bytes(length)).hex()}"

    def log_message(self, *_):
        pass


class _HTTPServer(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    context = None

    def get_request(self):
        connection, address = super().get_request()
        if self.context is not None:
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address

    def handle_error(self, *_):
        # A client that goes away is no reason to write to the output of the tests.
        pass


class _Echo(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.settimeout(10)
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Members:
    """Servers in one namespace, until they are closed."""

    def __init__(self, namespace: str, directory: Path) -> None:
        self._namespace = namespace
        self._servers: list[tuple[socketserver.BaseServer, threading.Thread]] = []
        (directory / "members").mkdir()
        self.pki = Pki(directory / "members", "members CA")

    def http(self, name, address, port, *, proxied=False, tls=False, client_ca=None):
        """Serve HTTP; each answer tells what came.

        :param proxied: whether a header of the PROXY protocol comes first.
        :param client_ca: of the certificates that clients must have.
        """
        handler = type("Handler", (_Handler,), {"name": name, "proxied": proxied})
        server = call_inside(self._namespace, lambda: _HTTPServer((address, port), handler))
        if tls:
            server.context = self._context(name, address, client_ca)
        self._serve(server)

    def echo(self, address, port):
        """Send back every byte that comes."""
        self._serve(call_inside(self._namespace, lambda: _EchoServer((address, port), _Echo)))

    def close(self):
        for server, thread in self._servers:
            server.shutdown()
            thread.join()
            server.server_close()

    def _serve(self, server):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self._servers.append((server, thread))

    def _context(self, name, address, client_ca):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pki.server(address, "www.example.com", file_name=f"{name}.pem").path)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(cafile=client_ca)
        return context
