# SPDX-License-Identifier: Apache-2.0
"""Where connections wait, at almost no cost, until they are authenticated.

asyncio builds TLS state as soon as a connection is accepted: about 300 KiB for every unauthenticated client.
Here a connection is a bare socket until its whole ClientHello is in the kernel's buffer, which the lobby only
peeks at. Then it gets TLS buffers, and only a few connections have them at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from amphora.server.admission import Quota
from amphora.server.limited_log import LimitedLog
from amphora.server.settings import ServerSettings
from amphora.server.tls_protocol import TlsProtocol

#: host and port
Address: TypeAlias = tuple[str, int]
Welcome: TypeAlias = Callable[[asyncio.Transport, Address], asyncio.Protocol]

_RECORD_HEADER = 5
_MAX_RECORD = 16384
_TLS_HANDSHAKE = 0x16
_TLS_MAJOR = 3
_TCP_ESTABLISHED = 1
#: While others queue, a handshake may take this long; a genuine one needs milliseconds.
_FAIR_SECONDS = 0.2


def hello_size(data: bytes) -> int | None:
    """Return the size in bytes of the first TLS record (RFC 8446, 5.1), from its beginning.

    :return: 5, the size of a record's header, as long as that is incomplete; None if this is not a TLS
        handshake.
    """
    if data and data[0] != _TLS_HANDSHAKE:
        return None
    if len(data) < _RECORD_HEADER:
        return _RECORD_HEADER
    length = int.from_bytes(data[3:5], "big")
    if data[1] != _TLS_MAJOR or not 0 < length <= _MAX_RECORD:
        return None
    return _RECORD_HEADER + length


class _Arrival:
    """One connection between accept and the end of its handshake."""

    __slots__ = ("address", "sock", "started", "timer", "tls", "wanted")

    def __init__(self, sock: socket.socket, address: Address) -> None:
        self.sock = sock
        self.address = address
        self.timer: asyncio.TimerHandle | None = None
        self.wanted = _RECORD_HEADER
        self.started = 0.0
        self.tls: TlsProtocol | None = None

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


class Lobby:
    """All connections that have not finished their TLS handshake. Loop thread only.

    :param tls_context: called for each handshake, so a new certificate applies from the next one on.
    :param welcome: returns the protocol for an authenticated connection.
    """

    def __init__(
        self,
        settings: ServerSettings,
        tls_context: Callable[[], ssl.SSLContext],
        welcome: Welcome,
        log: LimitedLog,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._tls_context = tls_context
        self._welcome = welcome
        self._log = log
        self._present: Quota[_Arrival] = Quota(
            settings.max_unauthenticated, settings.max_unauthenticated_per_source
        )
        self._handshakes: Quota[_Arrival] = Quota(settings.max_handshakes, settings.max_handshakes)
        self._ready: dict[_Arrival, None] = {}
        self._turn: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._expected: set[Address] = set()

    def enter(self, sock: socket.socket, address: Address) -> None:
        """Take over an accepted, non-blocking socket."""
        arrival = _Arrival(sock, address)
        arrival.timer = self._loop.call_later(self._settings.hello_timeout, self._drop, arrival)
        evicted = self._present.admit(arrival, address[0])
        if evicted is not None:
            self._log.write(
                logging.WARNING, f"Too many unauthenticated connections: dropped one of {evicted.address[0]}"
            )
            self._drop(evicted)
        # The kernel now reports the socket as readable once it has that many bytes, or at its end.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, arrival.wanted)
        self._loop.add_reader(sock, self._peek, arrival)

    @contextlib.contextmanager
    def expecting(self, address: Address) -> Iterator[None]:
        """Do not log a failed handshake with this address: it is the agent's own check. From any thread."""
        self._expected.add(address)
        try:
            yield
        finally:
            self._expected.discard(address)

    def make_room(self) -> bool:
        """Drop one connection to free its descriptor; return False if there is none."""
        evicted = self._present.candidate()
        if evicted is None:
            return False
        self._drop(evicted)
        return True

    def close(self) -> None:
        """Drop all connections."""
        self._stop_turn()
        self._ready.clear()
        for arrival in self._present.members():
            self._drop(arrival)

    def _drop(self, arrival: _Arrival) -> None:
        self._present.discard(arrival)
        self._ready.pop(arrival, None)
        arrival.stop_timer()
        if arrival.tls is not None:
            arrival.tls.abort()
        else:
            self._loop.remove_reader(arrival.sock)
            arrival.sock.close()

    def _peek(self, arrival: _Arrival) -> None:
        try:
            data = arrival.sock.recv(_RECORD_HEADER + _MAX_RECORD, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(arrival)
            return
        size = hello_size(data)
        if not data:
            self._drop(arrival)
        elif size is None:
            self._log.write(
                logging.INFO, f"Connection from {arrival.address[0]} closed: it does not speak TLS"
            )
            self._drop(arrival)
        elif len(data) >= size > _RECORD_HEADER:
            self._queue(arrival)
        elif size > arrival.wanted:
            arrival.wanted = size
            arrival.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        elif _is_established(arrival.sock):  # short of memory, the kernel does not wait for the whole record
            self._queue(arrival)
        else:
            self._drop(arrival)

    def _queue(self, arrival: _Arrival) -> None:
        self._loop.remove_reader(arrival.sock)  # it would stay readable and spin
        self._ready[arrival] = None
        self._take_turns()

    def _take_turns(self) -> None:
        """Start handshakes up to the limit; at the limit, drop the one that takes too long."""
        self._stop_turn()
        while self._ready and len(self._handshakes) < self._settings.max_handshakes:
            self._begin_handshake(self._next_in_line())
        longest = self._handshakes.candidate()
        if not self._ready or longest is None:
            return
        remaining = longest.started + _FAIR_SECONDS - self._loop.time()
        if remaining > 0:
            self._turn = self._loop.call_later(remaining, self._take_turns)
        else:
            self._log.write(
                logging.WARNING, f"Too many unfinished handshakes: dropped one of {longest.address[0]}"
            )
            self._drop(longest)  # its end takes the next turn

    def _stop_turn(self) -> None:
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _next_in_line(self) -> _Arrival:
        """Choose the source with the fewest handshakes, and its newest: floods wait behind others."""
        return min(reversed(self._ready), key=lambda arrival: self._handshakes.count(arrival.address[0]))

    def _begin_handshake(self, arrival: _Arrival) -> None:
        del self._ready[arrival]
        if not _is_established(arrival.sock):
            self._drop(arrival)
            return
        arrival.stop_timer()
        arrival.started = self._loop.time()
        arrival.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
        self._handshakes.admit(arrival, arrival.address[0])
        over = self._loop.create_future()
        over.add_done_callback(partial(self._handshake_over, arrival))
        arrival.tls = TlsProtocol(
            self._tls_context(), self._settings, partial(self._authenticated, arrival), over
        )
        task = self._loop.create_task(self._attach(arrival.sock, arrival.tls))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attach(self, sock: socket.socket, tls: TlsProtocol) -> None:
        await self._loop.connect_accepted_socket(lambda: tls, sock)

    def _authenticated(self, arrival: _Arrival, transport: asyncio.Transport) -> asyncio.Protocol:
        return self._welcome(transport, arrival.address)

    def _handshake_over(self, arrival: _Arrival, over: asyncio.Future[None]) -> None:
        self._present.discard(arrival)
        self._handshakes.discard(arrival)
        arrival.tls = None
        self._take_turns()
        error = over.exception()
        if error is not None:
            # The traceback's frames would keep the connection's buffers until the next full collection.
            error.__traceback__ = None
            if arrival.address not in self._expected:
                self._log.write(
                    logging.INFO, f"TLS handshake with {arrival.address[0]} failed: {handshake_fault(error)}"
                )


def handshake_fault(error: BaseException) -> str:
    """Return in a few words why a handshake failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"client certificate refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, ConnectionResetError):
        return "the client closed the connection"
    return str(error) or type(error).__name__


def _is_established(sock: socket.socket) -> bool:
    """Return whether the peer has not closed: the first byte of struct tcp_info is the state."""
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
