# SPDX-License-Identifier: Apache-2.0
"""The authenticated connections: their protocol, their limit, and how they end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from amphora.server.application import Application
from amphora.server.http_protocol import AgentHttpProtocol
from amphora.server.limited_log import LimitedLog
from amphora.server.lobby import Address
from amphora.server.settings import ServerSettings

_LOG = logging.getLogger(__name__)
_CHECK_SECONDS = 0.02
#: For the last bytes of responses and close_notify, once no request runs any more.
_CLOSING_SECONDS = 1.5


class Connections:
    """Creates the protocol of each authenticated connection. Loop thread only."""

    def __init__(self, application: Application, settings: ServerSettings, log: LimitedLog) -> None:
        self._application = application
        self._settings = settings
        self._log = log
        #: A lost connection stays here while its request is still running.
        self._protocols: set[AgentHttpProtocol] = set()

    def welcome(self, transport: asyncio.Transport, address: Address) -> asyncio.Protocol:
        """Return the protocol for a connection; at the limit, close the one idle for longest."""
        if sum(not each.is_lost for each in self._protocols) >= self._settings.max_connections:
            self._make_room(transport, address)
        protocol = AgentHttpProtocol(
            self._application, self._settings, address, self._log, self._protocols.discard
        )
        self._protocols.add(protocol)
        return protocol

    async def finish(self) -> int:
        """Let running requests finish within the grace period, close all, and count those cut off."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.shutdown_grace
        for protocol in self._protocols:
            protocol.shutdown()
        await _until(lambda: not self._busy(), deadline)
        cut_off = self._busy()
        await _until(lambda: not self._protocols, min(deadline, loop.time() + _CLOSING_SECONDS))
        for protocol in list(self._protocols):
            protocol.abort()
        await _until(lambda: not self._protocols, loop.time() + _CLOSING_SECONDS)
        return cut_off

    def _busy(self) -> int:
        return sum(not each.is_idle for each in self._protocols)

    def _make_room(self, newcomer: asyncio.Transport, address: Address) -> None:
        idle = [each for each in self._protocols if each.is_idle and not each.is_closing]
        if idle:
            min(idle, key=lambda each: each.idle_since).shutdown()
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
