# SPDX-License-Identifier: Apache-2.0
"""The ASGI application that stands before the WSGI one: whole bodies only, and two queues.

A request's body is read on the event loop, so a slow or silent client holds no thread, and the WSGI
application is called only once the body is whole. Requests that only read have threads of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias
from wsgiref.types import WSGIApplication

from amphora.server import wsgi
from amphora.server.answers import Answer
from amphora.server.settings import MEBIBYTE, ServerSettings
from amphora.server.wsgi import RequestBody

_LOG = logging.getLogger(__name__)
_READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
#: How much of a refused body is read and thrown away: a client that sends all of it before it reads
#: would otherwise be reset before it sees the answer.
_DISCARD_BYTES = 8 * MEBIBYTE
_DISCARD_SECONDS = 2.0

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class Application:
    """An ASGI application around a WSGI one; see the module's docstring."""

    def __init__(self, app: WSGIApplication, settings: ServerSettings) -> None:
        self._app = app
        self._max_body = settings.max_body
        self._reads = ThreadPoolExecutor(settings.read_workers, thread_name_prefix="read")
        self._changes = ThreadPoolExecutor(settings.change_workers, thread_name_prefix="change")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request; when the client leaves before its body is whole, nothing is called."""
        body = await read_body(scope["headers"], receive, self._max_body)
        if body is None:
            return
        pool = self._reads if scope["method"] in _READ_METHODS else self._changes
        try:
            answer = await asyncio.get_running_loop().run_in_executor(pool, self._answer, scope, body)
        except asyncio.CancelledError:  # the server stops, and its client has been cut off already
            _LOG.warning("%s %s did not finish before the server stopped", scope["method"], scope["path"])
            return
        await _send_answer(answer, send, close=bool(body.error), finish=not body.unread)
        if body.unread:
            await _discard_rest(receive)
            await send({"type": "http.response.body"})

    async def have_work_done(self) -> None:
        """Return once a thread that answers reading requests was free for a moment."""
        await asyncio.get_running_loop().run_in_executor(self._reads, _nothing)

    def close(self) -> None:
        """Take no more work; threads that are busy finish what they do."""
        self._reads.shutdown(wait=False, cancel_futures=True)
        self._changes.shutdown(wait=False, cancel_futures=True)

    def _answer(self, scope: Message, body: RequestBody) -> Answer:
        return wsgi.call(self._app, wsgi.build_environ(scope, body))


def _nothing() -> None:
    pass


async def read_body(
    headers: list[tuple[bytes, bytes]], receive: Receive, max_body: int
) -> RequestBody | None:
    """Read a request's body to its end, or to the point where it is refused.

    A body whose announced size is too large is refused before anything is read, hence before a client
    that asked with ``Expect: 100-continue`` is told to go on.

    :param headers: names in lower case; h11 has already checked their form.
    :return: None when the client left before the end.
    """
    declared = {name: value for name, value in headers if name in (b"content-length", b"transfer-encoding")}
    if len(declared) == 2:
        return _refused("The request has both Content-Length and Transfer-Encoding.")
    size = int(declared.get(b"content-length", b"0"))
    if size > max_body:
        return _refused(f"The request body has {size} bytes; at most {max_body} bytes are accepted.")
    stream = io.BytesIO()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        stream.write(message.get("body", b""))
        more = message.get("more_body", False)
        if stream.tell() > max_body:
            return _refused(f"The request body has more than {max_body} bytes.", unread=more)
    stream.seek(0)
    return RequestBody(stream)


def _refused(reason: str, unread: bool = True) -> RequestBody:
    return RequestBody(io.BytesIO(), error=reason, unread=unread)


async def _send_answer(answer: Answer, send: Send, close: bool, finish: bool) -> None:
    headers = answer.header_list(close)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not finish})


async def _discard_rest(receive: Receive) -> None:
    remaining = _DISCARD_BYTES
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while remaining > 0:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                remaining -= len(message.get("body", b""))
