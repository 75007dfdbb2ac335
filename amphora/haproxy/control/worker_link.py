# SPDX-License-Identifier: Apache-2.0
"""A connection to one worker that stays open (management guide, section 9.3, ``prompt``).

A worker that a reload has replaced ends as soon as its last client has left, and what it has counted
since it was last read is lost with it. A connection to its stats socket is a job to haproxy too
(``Jobs`` of ``show info``): while it is open the worker waits, so the last numbers can still be read.
Measured on 2.6: an idle worker ends with the connection, at once; one whose peer stopped asking ends
after ``stats timeout``, 10 s by default, so a client that hangs cannot keep a worker.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import ControlSocketError
from amphora.haproxy.control.control_socket import ANSWER_LIMIT
from amphora.haproxy.control.stats import StatRow, parse_statistics
from amphora.system.processes import identify

_PROMPT = b"\n> "
#: A line each: for two commands on one line 3.2 sends one prompt, 2.6 and 3.0 send two (measured).
_QUESTIONS = b"show info\nshow stat\n"
_CHUNK = 256 * 1024


@dataclass(frozen=True, slots=True)
class WorkerAnswer:
    """Statistics of a worker at one moment.

    :ivar generation: a unique name of the process, across reboots; its counters began with it.
    :ivar stopping: a reload or a stop has taken its sockets; it serves the clients it has.
    :ivar connections: of clients, now.
    """

    generation: str
    stopping: bool
    connections: int
    rows: tuple[StatRow, ...]


class WorkerLink:
    """One open connection. It never waits: :meth:`receive` takes what has come.

    :raises ControlSocketError: no process listens there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._received = bytearray()
        self._prompts = 0
        self._awaited = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._socket.connect(str(path))
            self._send(b"prompt\n", 1)
        except OSError as error:
            self._socket.close()
            raise self._failed(error) from error
        except ControlSocketError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for selectors."""
        return self._socket.fileno()

    @property
    def is_asked(self) -> bool:
        """Whether an answer is still to come."""
        return self._prompts < self._awaited

    def ask(self) -> None:
        """Ask for everything at once, so that all of the answer is about the same process.

        :raises ControlSocketError: the worker is gone.
        """
        self._send(_QUESTIONS, 2)

    def receive(self) -> WorkerAnswer | None:
        """Take what has come; return the answer when it is complete, None before that.

        :raises ControlSocketError: the worker is gone, or answers something odd.
        """
        try:
            chunk = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError as error:
            raise self._failed(error) from error
        if not chunk:
            raise ControlSocketError(f"{self._path}: the worker closed the connection")
        # A prompt may come in two pieces.
        seen = max(0, len(self._received) - len(_PROMPT) + 1)
        self._received += chunk
        self._prompts += self._received.count(_PROMPT, seen)
        if len(self._received) > ANSWER_LIMIT:
            raise ControlSocketError(f"{self._path} answered with more than {ANSWER_LIMIT} bytes")
        return None if self.is_asked else self._answer()

    def close(self) -> None:
        """Close the connection, so that the worker may end. Safe to repeat."""
        self._socket.close()

    def _send(self, command: bytes, prompts: int) -> None:
        try:
            sent = self._socket.send(command)
        except OSError as error:
            raise self._failed(error) from error
        if sent != len(command):
            raise ControlSocketError(f"{self._path} takes no more commands")
        self._awaited += prompts

    def _answer(self) -> WorkerAnswer | None:
        text = self._received.decode("utf-8", "replace")
        self._received.clear()
        # The prompt itself may be answered alone, before the first question.
        answers = [part for part in text.split(_PROMPT.decode()) if part.strip()]
        if not answers:
            return None
        if len(answers) != 2:
            raise ControlSocketError(f"{self._path} answered oddly: {text[:200]!r}")
        info, statistics = answers
        pairs = (line.partition(": ") for line in info.splitlines())
        try:
            return _answer({name: value for name, _, value in pairs}, statistics)
        except (KeyError, ValueError) as error:
            raise ControlSocketError(f"{self._path} answered oddly: {error}") from error

    def _failed(self, error: OSError) -> ControlSocketError:
        return ControlSocketError(f"{self._path} failed: {error.strerror or error}")


def _answer(info: Mapping[str, str], statistics: str) -> WorkerAnswer:
    pid = int(info["Pid"])
    started = info.get("Start_time_sec")
    if started is None:
        # Versions before 2.5 do not report it.
        process = identify(pid)
        started = f"t{process.start_ticks}" if process else ""
    return WorkerAnswer(
        f"{pid}-{started}",
        info.get("Stopping", "0") != "0",
        int(info.get("CurrConns", "0")),
        parse_statistics(statistics.lstrip("\n")),
    )
