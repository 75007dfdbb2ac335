# SPDX-License-Identifier: Apache-2.0
"""The WSGI layer around Pecan: request ids, checks that hold for every request, and JSON for every error."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes

from oslo_context import context
from webob import Request, Response

from amphora.api import errors
from amphora.api.idempotency import respond_once
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.errors import InvalidInput

LOG = logging.getLogger(__name__)

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

REQUEST_ID_HEADER = "X-Request-ID"


class Gateway:
    """Checks each request, then passes it to the inner application.

    :ivar allowed_client_names: names of client certificates that may use the API; empty: all may.
        Replaced as a whole when the configuration changes.
    :param wording: returns how errors of a path are worded.
    :param idempotency_store: the responses to requests with a key.
    """

    def __init__(
        self,
        app: WsgiApp,
        allowed_client_names: Collection[str],
        wording: Callable[[str], errors.Wording],
        idempotency_store: IdempotencyStore,
    ) -> None:
        self._app = app
        self._idempotency_store = idempotency_store
        self._wording = wording
        self.allowed_client_names = frozenset(allowed_client_names)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one WSGI request (PEP 3333)."""
        began = time.monotonic()
        request_context = context.RequestContext(overwrite=True)
        request = Request(environ)
        method = request.method
        try:
            response = self._respond(request)
        except Exception as error:  # the client gets JSON even for a defect
            # The undecoded path: what is not UTF-8 must be answered as well.
            response = errors.error_response(error, self._wording(environ["PATH_INFO"]))
        response.headers[REQUEST_ID_HEADER] = request_context.request_id
        LOG.info(
            "%s %s %s -> %d in %.1f ms",
            environ.get("REMOTE_ADDR", "-"),
            method,
            _printable(request),
            response.status_int,
            (time.monotonic() - began) * 1000,
        )
        # HEAD was passed on as GET; webob leaves the body out for HEAD.
        environ["REQUEST_METHOD"] = method
        return response(environ, start_response)  # type: ignore[no-any-return]

    def _respond(self, request: Request) -> Response:
        self._check_client(request)
        _check_path(request)
        _decoded("query", request.query_string)
        _check_body(request)
        # Every response has one form only, so Accept decides nothing.
        request.environ.pop("HTTP_ACCEPT", None)
        if request.method == "HEAD":
            request.method = "GET"
        return respond_once(self._idempotency_store, request, lambda: request.get_response(self._app))

    def _check_client(self, request: Request) -> None:
        names: tuple[str, ...] | None = request.environ.get("amphora.peer_names")
        if names is None:
            raise errors.Unauthorized("A client certificate is required")
        if self.allowed_client_names and not self.allowed_client_names & set(names):
            raise errors.Unauthorized(f"The client certificate's names are not allowed: {', '.join(names)}")


def _check_path(request: Request) -> None:
    raw: str = request.environ.get("amphora.raw_path") or request.path
    if "%2f" in raw.lower():
        raise InvalidInput("Encoded slashes are not allowed in the path")
    if not _decoded("path", raw).isprintable():
        raise InvalidInput("Control characters are not allowed in the path")


def _decoded(part: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(f"The {part} is not valid UTF-8") from None


def _check_body(request: Request) -> None:
    failure: str | None = request.environ.get("amphora.body_error")
    if failure is not None:
        raise InvalidInput(failure)
    expected = request.content_length
    if expected is not None and len(request.body) < expected:
        raise InvalidInput(f"The body ended after {len(request.body)} of {expected} bytes")


def _printable(request: Request) -> str:
    raw: str = request.environ.get("amphora.raw_path") or request.path
    return raw if len(raw) <= 200 else f"{raw[:200]}..."
