# SPDX-License-Identifier: Apache-2.0
"""HTTP/1 on one authenticated connection: uvicorn's h11 protocol with time limits and JSON errors."""

from __future__ import annotations

import asyncio
import logging
import sys
from enum import Enum
from typing import Any, cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from amphora.server.answers import invalid_request
from amphora.server.limited_log import LimitedLog
from amphora.server.settings import ServerSettings
from amphora.server.tls import peer_names

#: How long a connection stays open, and ignored, after a 400, so that the client can read it.
_LINGER_SECONDS = 1.0


class _Awaited(Enum):
    """What we wait for the client to do, under a time limit of ours."""

    NOTHING = "nothing"
    HEAD = "head"
    BODY = "body"


class AgentHttpProtocol(H11Protocol):
    """uvicorn limits only the silence between requests; here every wait for the client has an end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        settings: ServerSettings,
        client: tuple[str, int],
        log: LimitedLog,
    ) -> None:
        super().__init__(config, server_state, app_state={}, _loop=asyncio.get_running_loop())
        self._settings = settings
        self._known_client = client
        self._log = log
        self._awaited = _Awaited.NOTHING
        self._first_request = True
        self._lingering = False
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self.idle_since = self.loop.time()

    @property
    def is_idle(self) -> bool:
        """No request is being read, handled or answered."""
        return self.cycle is None or bool(self.cycle.response_complete)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Learn who the peer is and start waiting for the first request."""
        super().connection_made(cast(asyncio.Transport, transport))
        self.client = self._known_client
        self.app_state["peer_names"] = peer_names(transport.get_extra_info("peercert"))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free what a timer would keep alive."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._await(_Awaited.NOTHING)
        self._stop_write_timer()

    def data_received(self, data: bytes) -> None:
        """Parse, and move the time limit on."""
        if self._lingering:
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Start the idle time, or go on with a request that has already come."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Answer what h11 refused: JSON with the reason, then close."""
        if self.transport.is_closing():
            return
        error = sys.exc_info()[1]
        reason = str(error or msg)
        if error is not None:
            # h11's exception refers to itself; through its frames it would keep this connection.
            error.__traceback__ = None
        self._log.write(logging.WARNING, f"Invalid HTTP request from {self._known_client[0]}: {reason}")
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer is already on its way
            return
        answer = invalid_request(reason)
        for event in (
            h11.Response(
                status_code=answer.status, headers=answer.header_list(close=True), reason=b"Bad Request"
            ),
            h11.Data(data=answer.body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._lingering = True
        self._await(_Awaited.NOTHING)
        self._read_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def shutdown(self) -> None:
        """Close now when idle, else after the answer under way."""
        if not self.transport.is_closing():
            super().shutdown()

    def pause_writing(self) -> None:
        """Give a client that does not read its answer a limited time."""
        super().pause_writing()
        self._stop_write_timer()
        self._write_timer = self.loop.call_later(self._settings.write_timeout, self.transport.abort)

    def resume_writing(self) -> None:
        """End that time."""
        super().resume_writing()
        self._stop_write_timer()

    def _should_upgrade(self) -> bool:
        """Treat a request that proposes another protocol as the ordinary request it also is."""
        return False

    def _watch(self) -> None:
        if self._lingering or self.transport.is_closing():
            return
        state: Any = self.conn.their_state
        if state is h11.SEND_BODY:
            self._first_request = False
            self._await(_Awaited.BODY)
        elif state is h11.IDLE and (self._first_request or self.conn.trailing_data[0]):
            self._await(_Awaited.HEAD)
        else:
            self._first_request = False
            self._await(_Awaited.NOTHING)

    def _await(self, awaited: _Awaited) -> None:
        """Start the time limit of a new phase; within a phase it never starts again."""
        if awaited is self._awaited and awaited is not _Awaited.NOTHING:
            return
        self._awaited = awaited
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None
        if awaited is _Awaited.HEAD:
            self._read_timer = self.loop.call_later(self._settings.header_timeout, self.transport.abort)
        elif awaited is _Awaited.BODY:
            self._read_timer = self.loop.call_later(self._settings.request_read_timeout, self.transport.abort)

    def _stop_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
