# SPDX-License-Identifier: Apache-2.0
"""HTTP responses with a whole body, and those that the server itself sends instead of the application."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from email.utils import formatdate

_SERVER = (b"server", b"amphora-agent")


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its whole body.

    :ivar headers: names in lower case, values as ISO-8859-1 text (PEP 3333).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header_list(self, close: bool = False) -> list[tuple[bytes, bytes]]:
        """Return the encoded headers with Server, Date and, if asked for, ``Connection: close``."""
        encoded = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, value in self.headers
            if name not in ("server", "date")
        ]
        encoded += [_SERVER, (b"date", formatdate(usegmt=True).encode("ascii"))]
        if close:
            encoded = [header for header in encoded if header[0] != b"connection"] + [
                (b"connection", b"close")
            ]
        return encoded


def json_response(status: int, message: str, details: str, request_id: str) -> Response:
    """Return an error response in the form of the API's own: ``message`` and ``details``."""
    body = json.dumps({"message": message, "details": details}).encode("ascii")
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("x-request-id", request_id),
    )
    return Response(status, headers, body)


def invalid_request(details: str) -> Response:
    """Return the response to what cannot be parsed as HTTP."""
    return json_response(400, "Invalid request", details, new_request_id())


def internal_error(request_id: str) -> Response:
    """Return the response for an application that raised; the reason is in the log only."""
    details = f"The request could not be handled; the agent's log has the reason under {request_id}."
    return json_response(500, "Internal Server Error", details, request_id)


def new_request_id() -> str:
    """Return an identifier for one request, in OpenStack's form."""
    return f"req-{uuid.uuid4()}"
