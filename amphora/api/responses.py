# SPDX-License-Identifier: Apache-2.0
"""The two forms an answer can have: JSON, and a raw configuration; and the tag that names bytes."""

from __future__ import annotations

import json
from typing import Any

from webob import Response

from amphora.core.changes.expected import etag_of


def json_answer(status: int, body: Any) -> Response:
    """Return an answer with a JSON body in compact form."""
    return Response(
        status=status,
        body=json.dumps(body, separators=(",", ":")).encode(),
        content_type="application/json",
        charset=None,
    )


def text_answer(body: bytes) -> Response:
    """Return stored text as it is, byte for byte."""
    return Response(status=200, body=body, content_type="text/plain", charset="UTF-8")


def ok(status: int, details: str = "") -> Response:
    """Return the answer to a change that was made."""
    return json_answer(status, {"message": "OK"} | ({"details": details} if details else {}))


def tagged(response: Response, content: bytes) -> Response:
    """Add the ``ETag`` that names stored bytes: their MD5 without quotes, as controllers know it."""
    response.headers["ETag"] = etag_of(content)
    return response
