# SPDX-License-Identifier: Apache-2.0
"""What stands before the WSGI application: whole bodies only, and two queues.

A request's body is read on the event loop, so a slow or silent client holds no thread, and the WSGI
application is called only once the body is whole. Requests that only read have threads of their own.
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
from amphora.server.responses import Answer
from amphora.server.settings import MEBIBYTE, ServerSettings
from amphora.server.wsgi import Endpoints, RequestBody

_LOG = logging.getLogger(__name__)
_READ_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
#: How much of a refused body is read and thrown away: a client that sends all of it before it reads
#: would otherwise be reset before it sees the answer.
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

    async def answer(self, request: h11.Request, endpoints: Endpoints, body: RequestBody) -> Answer:
        """Have one request answered by a thread.

        :raises asyncio.CancelledError: the server stops, and the client has been cut off already.
        """
        environ = wsgi.build_environ(request, endpoints, body)
        pool = self._reads if request.method in _READ_METHODS else self._changes
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, wsgi.call, self._app, environ)
        except asyncio.CancelledError:
            method, path = environ["REQUEST_METHOD"], environ["amphora.raw_path"]
            _LOG.warning("%s %s did not finish before the server stopped", method, path)
            raise

    async def have_work_done(self) -> None:
        """Return once a thread that answers reading requests was free for a moment."""
        await asyncio.get_running_loop().run_in_executor(self._reads, _nothing)

    def close(self) -> None:
        """Take no more work; threads that are busy finish what they do."""
        self._reads.shutdown(wait=False, cancel_futures=True)
        self._changes.shutdown(wait=False, cancel_futures=True)


def _nothing() -> None:
    pass


async def read_body(
    headers: Iterable[tuple[bytes, bytes]], receive: Receive, max_body: int
) -> RequestBody | None:
    """Read a request's body to its end, or to the point where it is refused.

    A body whose announced size is too large is refused before anything is read, hence before a client
    that asked with ``Expect: 100-continue`` is told to go on.

    :param headers: names in lower case; h11 has already checked their form.
    :param receive: returns the next piece; h11's ConnectionClosed when the client has left.
    :return: None when the client left before the end.
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
    """Read what is left of a refused body, up to a limit of bytes and of time.

    :raises h11.RemoteProtocolError: as ``receive`` does.
    """
    remaining = _DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while remaining > 0 and isinstance(event := await receive(), h11.Data):
                remaining -= len(event.data)


def _refused(reason: str) -> RequestBody:
    return RequestBody(io.BytesIO(), error=reason, unread=True)
