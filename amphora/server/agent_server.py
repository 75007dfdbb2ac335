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
from amphora.server.connections import Connections
from amphora.server.limited_log import LimitedLog
from amphora.server.listener import Acceptor, open_listener
from amphora.server.liveness import Liveness
from amphora.server.lobby import Address, Lobby
from amphora.server.settings import ServerSettings

_LOG = logging.getLogger(__name__)
_NO_HANDLERS: Mapping[int, Callable[[], None]] = MappingProxyType({})


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
        connections = Connections(application, self._settings, log)
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


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that asyncio has no caller for: one line for a broken connection, else the traceback."""
    error = context.get("exception")
    if isinstance(error, OSError):
        _LOG.debug("%s: %s", context["message"], error)
    else:
        _LOG.error("%s", context["message"], exc_info=error)
