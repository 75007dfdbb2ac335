# SPDX-License-Identifier: Apache-2.0
"""Calls a WSGI application (PEP 3333) with a whole request and returns its whole response.

Both are small here (configurations, certificates, JSON). No application sees half a body, and one that raises
in the middle of its response still becomes a clean 500.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeAlias
from urllib.parse import unquote_to_bytes
from wsgiref.types import WSGIApplication, WSGIEnvironment

import h11

from amphora.server.responses import Response, internal_error, new_request_id

_LOG = logging.getLogger(__name__)
_NO_BODY = (204, 304)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


@dataclass(frozen=True, slots=True)
class RequestBody:
    """A request body.

    :ivar stream: positioned at the start; empty when ``error`` is set.
    :ivar error: why the body was not accepted, as one sentence, or empty.
    :ivar unread: the client may still be sending.
    """

    stream: io.BytesIO
    error: str = ""
    unread: bool = False


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ends of a connection.

    :ivar server: host and port that the client connected to.
    :ivar client: host and port of the client.
    :ivar client_names: in its certificate; None if it presented none.
    """

    server: tuple[str, int]
    client: tuple[str, int]
    client_names: tuple[str, ...] | None


def build_environ(request: h11.Request, endpoints: Endpoints, body: RequestBody) -> WSGIEnvironment:
    """Translate a request into a WSGI environment.

    Beyond PEP 3333 it holds ``amphora.raw_path`` (the path before percent-decoding),
    ``amphora.peer_names`` (tuple of str, or None without a client certificate) and, only if the body was
    not accepted, ``amphora.body_error`` (one sentence).
    """
    target, _, query = request.target.partition(b"?")
    raw_path = _origin_form(target)
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": request.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("ascii"),
        "SERVER_PROTOCOL": f"HTTP/{request.http_version.decode('ascii')}",
        "SERVER_NAME": endpoints.server[0],
        "SERVER_PORT": str(endpoints.server[1]),
        "REMOTE_ADDR": endpoints.client[0],
        "REMOTE_PORT": str(endpoints.client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": body.stream,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "amphora.raw_path": raw_path.decode("ascii"),
        "amphora.peer_names": endpoints.client_names,
    }
    environ.update(_header_variables(request.headers, len(body.stream.getbuffer())))
    if body.error:
        environ["amphora.body_error"] = body.error
    return environ


def call(app: WSGIApplication, environ: WSGIEnvironment) -> Response:
    """Call the application and return its response; an exception becomes a logged 500."""
    try:
        return _collect(app, environ)
    except (Exception, SystemExit):
        request_id = new_request_id()
        _LOG.exception(
            "%s: the application failed on %s %s",
            request_id,
            environ["REQUEST_METHOD"],
            environ["amphora.raw_path"],
        )
        return internal_error(request_id)


def _origin_form(target: bytes) -> bytes:
    """Reduce the absolute form of a request target to its path (RFC 9112, 3.2.2)."""
    _, scheme_end, rest = target.partition(b"://")
    if target.startswith(b"/") or not scheme_end:
        return target
    return b"/" + rest.partition(b"/")[2]


def _header_variables(headers: Iterable[tuple[bytes, bytes]], body_size: int) -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in headers:
        if b"_" in name:  # would become the variable of the same name with a dash
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        text = value.decode("latin-1")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        variables[key] = f"{variables[key]},{text}" if key in variables else text
    # The body is whole and no longer chunked: state its true size.
    if variables.pop("HTTP_TRANSFER_ENCODING", None) is not None or "CONTENT_LENGTH" in variables:
        variables["CONTENT_LENGTH"] = str(body_size)
    return variables


class _Collected:
    """What an application passes to ``start_response`` and ``write``, and its iterable."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: list[tuple[str, str]] = []
        self.body = bytearray()

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        if self.status is not None and exc_info is None:
            raise RuntimeError("start_response was called twice")
        self.status = int(status.split(" ", 1)[0])
        self.headers = list(headers)
        return self.body.extend


def _collect(app: WSGIApplication, environ: WSGIEnvironment) -> Response:
    collected = _Collected()
    chunks = app(environ, collected.start)
    try:
        for chunk in chunks:
            collected.body.extend(chunk)
    finally:
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    return _checked(collected, environ["REQUEST_METHOD"])


def _checked(collected: _Collected, method: str) -> Response:
    """Make sure that the response can be sent: once its head is out, a 500 is no longer possible."""
    status = collected.status
    if status is None or not 200 <= status <= 599:
        raise RuntimeError(f"the application answered with status {status}")
    headers = [(name.strip().lower(), value.strip()) for name, value in collected.headers]
    has_length = any(name == "content-length" for name, _ in headers)
    body = b"" if status in _NO_BODY else bytes(collected.body)
    if status in _NO_BODY or method != "HEAD" or not has_length:
        headers = [header for header in headers if header[0] != "content-length"]
        if status not in _NO_BODY:
            headers.append(("content-length", str(len(body))))
    response = Response(status, tuple(headers), body)
    h11.Response(status_code=status, headers=response.header_list())
    return response
