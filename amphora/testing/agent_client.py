# SPDX-License-Identifier: Apache-2.0
"""A controller's side of the API: one request at a time over fresh mutual-TLS connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any

AMPHORA_ID = "6e2bc8a0-2548-4fb7-a5f0-fb1ef4a696ce"

_Exchange = Callable[[], "Answer"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent answered.

    :ivar headers: by name in any case.
    """

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class AgentClient:
    """Makes requests to one agent.

    :param context: presents the client's certificate and trusts the agent's.
    :param inside: calls a function where the agent can be reached, such as another network namespace.
    """

    def __init__(
        self,
        host: str,
        port: int,
        context: ssl.SSLContext,
        inside: Callable[[_Exchange], Answer] = lambda exchange: exchange(),
    ) -> None:
        self.host = host
        self.port = port
        self._context = context
        self._inside = inside

    def call(
        self, method: str, path: str, body: bytes | None = None, timeout: float = 60.0, **headers: str
    ) -> Answer:
        """Make one request over a fresh mutual-TLS connection."""

        def exchange() -> Answer:
            connection = http.client.HTTPSConnection(
                self.host, self.port, context=self._context, timeout=timeout
            )
            with contextlib.closing(connection):
                connection.request(
                    method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
                )
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read())

        return self._inside(exchange)

    def post(self, path: str, parameters: Mapping[str, object]) -> Answer:
        """Make one request with parameters as JSON."""
        return self.call("POST", path, json.dumps(parameters).encode(), Content_Type="application/json")

    def upload(self, listener_id: str, configuration: bytes) -> Answer:
        """Upload a listener's configuration by API v0.1."""
        return self.call("PUT", f"/v0.1/listeners/{AMPHORA_ID}/{listener_id}/haproxy", configuration)

    def act(self, listener_id: str, action: str) -> Answer:
        """Start, stop or reload a listener by API v0.1."""
        return self.call("PUT", f"/v0.1/listeners/{listener_id}/{action}")
