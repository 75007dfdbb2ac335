# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 on one authenticated connection, by h11; every wait for the client has a timeout."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from http.client import responses
from typing import cast

import h11

from amphora.server.application import Application, Event, discard_rest, read_body
from amphora.server.limited_log import LimitedLog
from amphora.server.lobby import Address
from amphora.server.responses import Response, invalid_request
from amphora.server.settings import ServerSettings
from amphora.server.tls import peer_names
from amphora.server.wsgi import Endpoints

#: Bytes of a request's head.
_MAX_HEAD = 64 * 1024
#: Unparsed bytes after which reading from the client pauses.
_HIGH_WATER = 64 * 1024
#: How long a connection stays open after a 400, so that the client can read it.
_LINGER_SECONDS = 1.0


class AgentHttpProtocol(asyncio.Protocol):
    """Handles one request after the other, each with its whole body and its whole response.

    What the client sends ahead stays unparsed until the response before it is written.

    :param client: the peer's address.
    :param on_end: called once the connection is closed and none of its requests is running any more.
    :ivar is_idle: no request is being read beyond its head, handled or answered.
    :ivar idle_since: in the loop's time.
    """

    def __init__(
        self,
        application: Application,
        settings: ServerSettings,
        client: Address,
        log: LimitedLog,
        on_end: Callable[[AgentHttpProtocol], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._application = application
        self._settings = settings
        self._client = client
        self._log = log
        self._on_end = on_end
        self._conn = h11.Connection(h11.SERVER, _MAX_HEAD)
        self._unparsed = 0
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._write_timer: asyncio.TimerHandle | None = None
        self._last = False
        self.is_idle = True
        self.idle_since = self._loop.time()

    @property
    def is_lost(self) -> bool:
        """The connection is closed."""
        return self._lost.is_set()

    @property
    def is_closing(self) -> bool:
        """The connection is closed or closing."""
        return self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read the peer's names and wait for the first request."""
        self._transport = cast(asyncio.Transport, transport)
        server = transport.get_extra_info("sockname")[:2]
        names = peer_names(transport.get_extra_info("peercert"))
        self._endpoints = Endpoints(server, self._client, names)
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(lambda _task: self._on_end(self))

    def connection_lost(self, exc: Exception | None) -> None:
        """Wake up what waits for the client."""
        self._stop_write_timer()
        self._lost.set()
        self._arrived.set()
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        """Buffer what came, and pause reading above the limit."""
        if self._last and self.is_idle:
            return
        self._conn.receive_data(data)
        self._unparsed += len(data)
        if self._unparsed > _HIGH_WATER:
            self._transport.pause_reading()
        self._arrived.set()

    def pause_writing(self) -> None:
        """Close the connection after a timeout if the client does not read its response."""
        self._writable.clear()
        self._write_timer = self._loop.call_later(self._settings.write_timeout, self._transport.abort)

    def resume_writing(self) -> None:
        """Cancel that timeout."""
        self._stop_write_timer()
        self._writable.set()

    def shutdown(self) -> None:
        """Close now if idle, else after the current response."""
        self._last = True
        if self.is_idle:
            self._transport.close()

    def abort(self) -> None:
        """Close at once, and cancel the current request."""
        self._transport.abort()
        self._task.cancel()

    async def _run(self) -> None:
        try:
            await self._converse()
        except h11.RemoteProtocolError as error:
            await self._refuse(error)
        finally:
            self._transport.close()
        await self._lost.wait()

    async def _converse(self) -> None:
        with self._limit(self._settings.header_timeout, self._transport.abort):
            event = await self._receive()
        while isinstance(event, h11.Request):
            self.is_idle = False
            await self._handle(event)
            self.is_idle = True
            self.idle_since = self._loop.time()
            await self._writable.wait()
            if self._last or self._conn.our_state is not h11.DONE or self._conn.their_state is not h11.DONE:
                return
            self._conn.start_next_cycle()
            event = await self._next_request()

    async def _next_request(self) -> Event:
        if not self._conn.trailing_data[0]:
            with self._limit(self._settings.idle_timeout, self._transport.close):
                await self._data()
        with self._limit(self._settings.header_timeout, self._transport.abort):
            return await self._receive()

    async def _handle(self, request: h11.Request) -> None:
        if not request.http_version.startswith(b"1."):
            version = request.http_version.decode("ascii")
            raise h11.RemoteProtocolError(f"HTTP/{version} is not supported, only HTTP/1.1 and HTTP/1.0 are")
        with self._limit(self._settings.request_read_timeout, self._transport.abort):
            body = await read_body(request.headers, self._receive, self._settings.max_body)
        if body is None:
            return
        response = await self._application.respond(request, self._endpoints, body)
        if self.is_lost:
            return
        self._write(response, close=self._last or bool(body.error), head_only=request.method == b"HEAD")
        if body.unread:
            await discard_rest(self._receive)

    async def _receive(self) -> Event:
        while (event := self._conn.next_event()) is h11.NEED_DATA:
            if self.is_lost:
                return h11.ConnectionClosed()
            if self._conn.they_are_waiting_for_100_continue:
                continuing = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._transport.write(self._conn.send(continuing) or b"")
            await self._data()
        return event

    async def _data(self) -> None:
        self._unparsed = 0
        self._arrived.clear()
        if not self.is_lost:
            self._transport.resume_reading()
            await self._arrived.wait()

    def _write(self, response: Response, close: bool, head_only: bool = False) -> None:
        events: list[h11.Event] = [
            h11.Response(
                status_code=response.status,
                headers=response.header_list(close),
                reason=responses.get(response.status, "").encode("ascii"),
            ),
            h11.Data(data=b"" if head_only else response.body),
            h11.EndOfMessage(),
        ]
        self._transport.write(b"".join(self._conn.send(event) or b"" for event in events))

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Send the reason in JSON; the caller closes the connection."""
        # h11's exception refers to itself; its frames would keep this connection alive.
        error.__traceback__ = None
        if self.is_lost:
            return
        self._log.write(logging.WARNING, f"Invalid HTTP request from {self._client[0]}: {error}")
        self._last = self.is_idle = True
        if self._conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return  # a response is already being sent
        self._write(invalid_request(str(error)), close=True)
        with self._limit(_LINGER_SECONDS, self._transport.close):
            await self._lost.wait()

    @contextlib.contextmanager
    def _limit(self, seconds: float, end: Callable[[], None]) -> Iterator[None]:
        timer = self._loop.call_later(seconds, end)
        try:
            yield
        finally:
            timer.cancel()

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
