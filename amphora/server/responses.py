# SPDX-License-Identifier: Apache-2.0
"""Complete HTTP answers, and those the server itself gives before or instead of the application."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from email.utils import formatdate

_SERVER = (b"server", b"amphora-agent")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose body is complete.

    :ivar headers: names in lower case, values as ISO-8859-1 text (PEP 3333).
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header_list(self, close: bool = False) -> list[tuple[bytes, bytes]]:
        """Encode the headers and add Server and Date, and ``Connection: close`` when asked to."""
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


def json_answer(status: int, message: str, details: str, request_id: str) -> Answer:
    """Build an error answer in the form of the API's own: ``message`` and ``details``."""
    body = json.dumps({"message": message, "details": details}).encode("ascii")
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("x-request-id", request_id),
    )
    return Answer(status, headers, body)


def invalid_request(details: str) -> Answer:
    """Answer a request that is not HTTP as we understand it."""
    return json_answer(400, "Invalid request", details, new_request_id())


def internal_error(request_id: str) -> Answer:
    """Answer for an application that raised; the reason is in the log only."""
    details = f"The request could not be handled; the agent's log has the reason under {request_id}."
    return json_answer(500, "Internal Server Error", details, request_id)


def new_request_id() -> str:
    """Make an identifier for one request, in the form OpenStack uses."""
    return f"req-{uuid.uuid4()}"
