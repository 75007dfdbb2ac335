# SPDX-License-Identifier: Apache-2.0
"""Whole request bodies, and the threads that call the WSGI application.

A body is read on the event loop, so a slow or silent client holds no thread, and the application is called
only once it is whole. Requests that only read have threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from wsgiref.types import WSGIApplication

import h11

from amphora.server import wsgi
from amphora.server.responses import Response
from amphora.server.settings import MEBIBYTE, ServerSettings
from amphora.server.wsgi import Endpoints, RequestBody

_LOG = logging.getLogger(__name__)
_READ_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
#: How much of a refused body is read and discarded: a client that sends all of it before it reads would
#: otherwise be reset before it sees the response.
_DISCARD_BYTES = 8 * MEBIBYTE
_DISCARD_SECONDS = 2.0

#: As ``h11.Connection.next_event`` returns it.
Event: TypeAlias = h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]
Receive: TypeAlias = Callable[[], Awaitable[Event]]


class Application:
    """Threads that call a WSGI application; see the module's docstring."""

    def __init__(self, app: WSGIApplication, settings: ServerSettings) -> None:
        self._app = app
        self._reads = ThreadPoolExecutor(settings.read_workers, thread_name_prefix="read")
        self._changes = ThreadPoolExecutor(settings.change_workers, thread_name_prefix="change")

    async def respond(self, request: h11.Request, endpoints: Endpoints, body: RequestBody) -> Response:
        """Return the response to one request; a thread runs the application.

        :raises asyncio.CancelledError: the server stops, and the client is cut off already.
        """
        environ = wsgi.build_environ(request, endpoints, body)
        pool = self._reads if request.method in _READ_METHODS else self._changes
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, wsgi.call, self._app, environ)
        except asyncio.CancelledError:
            method, path = environ["REQUEST_METHOD"], environ["amphora.raw_path"]
            _LOG.warning("%s %s did not finish before the server stopped", method, path)
            raise

    async def check_threads(self) -> None:
        """Return once a thread for reading requests was free."""
        await asyncio.get_running_loop().run_in_executor(self._reads, _nothing)

    def close(self) -> None:
        """Accept no more work; busy threads finish theirs."""
        self._reads.shutdown(wait=False, cancel_futures=True)
        self._changes.shutdown(wait=False, cancel_futures=True)


def _nothing() -> None:
    pass


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, max_body: int
) -> RequestBody | None:
    """Read a request's body to its end, or until it is refused.

    A body whose declared size is too large is refused before anything is read, hence before the response to
    ``Expect: 100-continue``.

    :param headers: names in lower case; h11 has already checked their form.
    :param receive: returns the next piece; h11's ConnectionClosed if the client disconnected.
    :return: None if the client disconnected before the end.
    :raises h11.RemoteProtocolError: as ``receive`` does.
    """
    declared = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
    if len(declared) == 2:
        return _refused("The request has both Content-Length and Transfer-Encoding.")
    size = int(declared.get(b"content-length", b"0"))
    if size > max_body:
        return _refused(f"The request body has {size} bytes; at most {max_body} bytes are accepted.")
    stream = io.BytesIO()
    while isinstance(event := await receive(), h11.Data):
        stream.write(event.data)
        if stream.tell() > max_body:
            return _refused(f"The request body has more than {max_body} bytes.")
    if not isinstance(event, h11.EndOfMessage):
        return None
    stream.seek(0)
    return RequestBody(stream)


async def discard_rest(receive: Receive) -> None:
    """Read the rest of a refused body, up to a limit of bytes and of time.

    :raises h11.RemoteProtocolError: as ``receive`` does.
    """
    remaining = _DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while remaining > 0 and isinstance(event := await receive(), h11.Data):
                remaining -= len(event.data)


def _refused(reason: str) -> RequestBody:
    return RequestBody(io.BytesIO(), error=reason, unread=True)
