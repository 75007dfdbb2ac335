# SPDX-License-Identifier: Apache-2.0
"""The forms of a response: JSON, a raw configuration, and the ``ETag`` of stored content."""

from __future__ import annotations

import json
from typing import Any

from webob import Response

from amphora.core.changes.expected import etag_of


def json_response(status: int, body: Any) -> Response:
    """Return a response with a JSON body in compact form."""
    return Response(
        status=status,
        body=json.dumps(body, separators=(",", ":")).encode(),
        content_type="application/json",
        charset=None,
    )


def text_response(body: bytes) -> Response:
    """Return stored text, byte for byte."""
    return Response(status=200, body=body, content_type="text/plain", charset="UTF-8")


def ok(status: int, details: str = "") -> Response:
    """Return the response to a change that was made."""
    return json_response(status, {"message": "OK"} | ({"details": details} if details else {}))


def tagged(response: Response, content: bytes) -> Response:
    """Add the ``ETag`` of stored content: its MD5 without quotes, the form that controllers read."""
    response.headers["ETag"] = etag_of(content)
    return response


def digest_response(digest: str) -> Response:
    """Return the MD5 of a stored certificate, also as its ``ETag``."""
    response = json_response(200, {"md5sum": digest})
    response.headers["ETag"] = digest
    return response
