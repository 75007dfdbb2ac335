# SPDX-License-Identifier: Apache-2.0
"""The HTTPS server: one process, one event loop, threads only for the application's work."""

from __future__ import annotations

import asyncio
import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from wsgiref.types import WSGIApplication

from amphora.errors import OperationFailed
from amphora.server.application import Application
from amphora.server.http_protocol import AgentHttpProtocol
from amphora.server.limited_log import LimitedLog
from amphora.server.listener import Acceptor, open_listener
from amphora.server.liveness import Liveness
from amphora.server.lobby import Address, Lobby
from amphora.server.settings import ServerSettings

_LOG = logging.getLogger(__name__)
_NO_HANDLERS: Mapping[int, Callable[[], None]] = MappingProxyType({})
_POLL_SECONDS = 0.02
#: For the last bytes of responses and close_notify, once no request runs any more.
_CLOSING_SECONDS = 1.5


class AgentServer:
    """Serves a WSGI application over mutual TLS. It knows nothing of what the application does.

    :param on_ready: called once, in the loop's thread, with the listening address.
    :param signal_handlers: by signal number; called in the loop's thread while :meth:`run` runs, so they must
        return at once and leave longer work to a thread. Needs the main thread if not empty.
    """

    def __init__(
        self,
        app: WSGIApplication,
        settings: ServerSettings,
        tls_context: ssl.SSLContext,
        *,
        on_ready: Callable[[Address], None],
        signal_handlers: Mapping[int, Callable[[], None]] = _NO_HANDLERS,
    ) -> None:
        self._app = app
        self._settings = settings
        self._tls_context = tls_context
        self._on_ready = on_ready
        self._signal_handlers = signal_handlers
        self._lock = threading.Lock()
        self._stop_wanted = False
        self._wake: Callable[[], object] | None = None
        self._liveness: Liveness | None = None

    def run(self) -> int:
        """Serve until :meth:`stop`, then finish running requests within the grace period. Runs once.

        :return: how many requests were cut off. Their threads may still be busy, and the interpreter would
            wait for them: if this is not 0, end the process with ``os._exit``.
        :raises ConfigurationError: the address cannot be listened on.
        """
        return asyncio.run(self._serve())

    def stop(self) -> None:
        """Stop accepting and let :meth:`run` return; from any thread, before or while it runs."""
        with self._lock:
            self._stop_wanted = True
            if self._wake is not None:
                self._wake()

    def replace_tls_context(self, context: ssl.SSLContext) -> None:
        """Use another certificate and CA from the next handshake on; from any thread."""
        self._tls_context = context

    def check_alive(self, timeout: float) -> None:
        """Return if the server would serve a new client now; from any thread but the loop's.

        Takes a few milliseconds, and leaves no thread, no connection and no line in the log.

        :param timeout: seconds for all of it.
        :raises OperationFailed: it would not, or is not running.
        """
        liveness = self._liveness
        if liveness is None:
            raise OperationFailed("the server is not running")
        liveness.check(timeout)

    async def _serve(self) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_report)
        log = LimitedLog(_LOG)
        listener = open_listener(self._settings.host, self._settings.port)
        application = Application(self._app, self._settings)
        connections = _Connections(application, self._settings, log)
        lobby = Lobby(self._settings, lambda: self._tls_context, connections.welcome, log)
        acceptor = Acceptor(listener, lobby, log)
        for number, handler in self._signal_handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            acceptor.start()
            self._liveness = Liveness(loop, listener, lobby, application.check_threads)
            self._on_ready(listener.getsockname()[:2])
            await self._stopped(loop)
        finally:
            self._liveness = None
            acceptor.stop()
            lobby.close()
            cut_off = await connections.finish()
            application.close()
            for number in self._signal_handlers:
                loop.remove_signal_handler(number)
        return cut_off

    async def _stopped(self, loop: asyncio.AbstractEventLoop) -> None:
        stopped = asyncio.Event()
        with self._lock:
            if self._stop_wanted:
                return
            self._wake = lambda: loop.call_soon_threadsafe(stopped.set)
        try:
            await stopped.wait()
        finally:
            with self._lock:
                self._wake = None


class _Connections:
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
        await asyncio.sleep(_POLL_SECONDS)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that asyncio has no caller for: one line for a broken connection, else the traceback."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _LOG.debug("%s: %s", context["message"], error)
    else:
        _LOG.error("%s", context["message"], exc_info=error)
