# SPDX-License-Identifier: Apache-2.0
"""A client of the load balancer."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import ssl
from dataclasses import dataclass
from typing import Any

from amphora.system.namespaces import call_inside
from tests.interop.rig import VIP

_SECONDS = 10.0


@dataclass(frozen=True)
class Visit:
    """What a client got.

    :ivar certificate: of the server as PEM, where TLS was spoken.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    certificate: str = ""

    @property
    def seen(self) -> Any:
        """What the member saw."""
        return json.loads(self.body)

    @property
    def member(self) -> str:
        """The name of the member that answered."""
        return self.seen["member"]


class Visitor:
    """Visits from one namespace, with a new connection for each.

    :param source: address to come from; empty lets the kernel choose.
    """

    def __init__(self, namespace: str, source: str = "") -> None:
        self._namespace = namespace
        self._source = source

    def get(self, port, path="/", address=VIP, tls=None, server_name=None, **headers):
        """Make one request.

        :param tls: context to speak TLS with.
        :raises OSError: there is no answer.
        """
        return call_inside(self._namespace, lambda: self._get(address, port, path, tls, server_name, headers))

    def reaches(self, port, address=VIP):
        """Whether a connection is accepted."""

        def connect():
            try:
                self._connect(address, port, 2.0).close()
            except OSError:
                return False
            return True

        return call_inside(self._namespace, connect)

    def exchange(self, port, payload, address=VIP):
        """Send bytes and return as many as come back until as many have come."""

        def exchange():
            with contextlib.closing(self._connect(address, port, _SECONDS)) as connection:
                connection.sendall(payload)
                received = b""
                while len(received) < len(payload) and (data := connection.recv(65536)):
                    received += data
                return received

        return call_inside(self._namespace, exchange)

    def _connect(self, address, port, seconds):
        source = (self._source, 0) if self._source else None
        return socket.create_connection((address, port), seconds, source)

    def _get(self, address, port, path, tls, server_name, headers):
        certificate = ""
        with contextlib.closing(http.client.HTTPConnection(address, port)) as client:
            client.sock = self._connect(address, port, _SECONDS)
            if tls is not None:
                client.sock = tls.wrap_socket(client.sock, server_hostname=server_name or address)
                certificate = ssl.DER_cert_to_PEM_cert(client.sock.getpeercert(binary_form=True))
            wanted = {name.replace("_", "-"): value for name, value in headers.items()}
            client.request("GET", path, headers={"Host": server_name or address, **wanted})
            response = client.getresponse()
            return Visit(response.status, dict(response.headers.items()), response.read(), certificate)
