# SPDX-License-Identifier: Apache-2.0
"""The authenticated connections: their protocol, their number, and how they end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from amphora.server.application import Application
from amphora.server.http_protocol import AgentHttpProtocol
from amphora.server.limited_log import LimitedLog
from amphora.server.lobby import Address
from amphora.server.settings import ServerSettings

_LOG = logging.getLogger(__name__)
_CHECK_SECONDS = 0.02
#: For the answer's last bytes and close_notify, once no request runs any more.
_CLOSING_SECONDS = 1.5


class Connections:
    """Builds uvicorn's protocol for each connection that has passed the lobby. Loop thread only.

    Of uvicorn only the protocol and its configuration are used: its server object wakes up ten times
    a second, and owns the sockets and signals that are ours here.
    """

    def __init__(self, application: Application, settings: ServerSettings, log: LimitedLog) -> None:
        self._settings = settings
        self._log = log
        self._state = ServerState()
        self._config = Config(
            application,
            interface="asgi3",
            http=AgentHttpProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # Below ERROR uvicorn would repeat what we log, without saying who and why.
            log_level=logging.ERROR,
            access_log=False,
            # Default True: believes X-Forwarded-For from 127.0.0.1.
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=math.ceil(settings.idle_timeout),
        )
        self._config.load()

    def __len__(self) -> int:
        return len(self._state.connections)

    def welcome(self, transport: asyncio.Transport, address: Address) -> asyncio.Protocol:
        """Give a connection its protocol, if need be at the cost of the one idle for longest."""
        if len(self) >= self._settings.max_connections:
            self._make_room(transport, address)
        return AgentHttpProtocol(self._config, self._state, self._settings, address, self._log)

    async def finish(self) -> int:
        """Let running requests finish within the grace, close everything, and count those cut off."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.shutdown_grace
        for connection in self._protocols():
            connection.shutdown()
        await _until(lambda: not self._state.tasks, deadline)
        cut_off = len(self._state.tasks)
        await _until(lambda: not self._protocols(), min(deadline, loop.time() + _CLOSING_SECONDS))
        for connection in self._protocols():
            connection.transport.abort()
        await asyncio.sleep(0)  # lets uvicorn learn that the client is gone, before its task is cancelled
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return cut_off

    def _protocols(self) -> list[AgentHttpProtocol]:
        return [cast(AgentHttpProtocol, connection) for connection in self._state.connections]

    def _make_room(self, newcomer: asyncio.Transport, address: Address) -> None:
        idle = [c for c in self._protocols() if c.is_idle and not c.transport.is_closing()]
        if idle:
            min(idle, key=lambda c: c.idle_since).shutdown()
            return
        self._log.write(
            logging.WARNING,
            f"All {self._settings.max_connections} connections are busy: closed a new one from {address[0]}",
        )
        asyncio.get_running_loop().call_soon(newcomer.abort)


async def _until(condition: Callable[[], bool], deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while not condition() and loop.time() < deadline:
        await asyncio.sleep(_CHECK_SECONDS)
