# SPDX-License-Identifier: Apache-2.0
"""A controller's side of the heartbeat, from the contract alone, and workers with given statistics."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

KEY = "correct-horse-battery-staple-0042"
AMPHORA_ID = "00000000-0000-4000-8000-00000000000a"
HEADER = "# pxname,svname,scur,stot,bin,bout,ereq,status,weight,type,"


def opened(datagram: bytes, key: str = KEY) -> dict[str, Any]:
    """Return the message of a datagram.

    :raises ValueError: a controller would not accept it.
    """
    payload, tag = datagram[:-64], datagram[-64:]
    if tag != hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode():
        raise ValueError("wrong tag")
    inflater = zlib.decompressobj(zlib.MAX_WBITS)
    text = inflater.decompress(payload)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("not one zlib stream")
    message: dict[str, Any] = json.loads(text)
    return message


class Receiver:
    """A UDP socket of a controller."""

    def __init__(self, host: str = "127.0.0.1", key: str = KEY) -> None:
        self.key = key
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        port = self.socket.getsockname()[1]
        self.entry = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def next(self, timeout: float = 20.0) -> dict[str, Any]:
        self.socket.settimeout(timeout)
        return opened(self.socket.recv(65536), self.key)

    def until(
        self, condition: Callable[[dict[str, Any]], object], timeout: float = 20.0
    ) -> list[dict[str, Any]]:
        """Return all messages up to the first one for which the condition holds."""
        deadline = time.monotonic() + timeout
        messages: list[dict[str, Any]] = []
        while not messages or not condition(messages[-1]):
            messages.append(self.next(max(deadline - time.monotonic(), 0.001)))
        return messages

    def waiting(self) -> list[dict[str, Any]]:
        """Return the messages that have come and were not taken."""
        messages = []
        self.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(opened(self.socket.recv(65536), self.key))
        return messages

    def close(self) -> None:
        self.socket.close()


class Worker:
    """A stats socket as a haproxy worker has it, for connections that stay open.

    :ivar info: what ``show info`` says.
    :ivar rows: of ``show stat``, as text after the header.
    :ivar lines: that it was sent. Each is answered with one prompt, as by haproxy 3.2.
    :ivar answers: when clear, it takes connections and questions, and says nothing.
    """

    def __init__(self, path: Path, pid: int = 100, rows: str = "") -> None:
        self.info = {"Pid": pid, "Start_time_sec": 1000, "Stopping": 0, "CurrConns": 0}
        self.rows = rows
        self.lines: list[str] = []
        self.questions = 0
        self.answers = threading.Event()
        self.answers.set()
        self._ends = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def open_connections(self) -> int:
        return sum(thread.is_alive() for thread in self._threads[1:])

    def stop_listening(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(5)

    def close(self) -> None:
        self._ends.set()
        self.answers.set()
        self.stop_listening()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                self._threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self._threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            for line in connection.makefile("r"):
                self.lines.append(line)
                commands = line.strip().split(";")
                self.questions += sum(command != "prompt" for command in commands)
                self.answers.wait(60)
                connection.sendall("".join(map(self._say, commands)).encode() + b"\n> ")

    def _say(self, command: str) -> str:
        if command == "show info":
            return "".join(f"{name}: {value}\n" for name, value in self.info.items())
        return f"{HEADER}\n{self.rows}\n" if command == "show stat" else ""


def frontend(
    name: str,
    connections: int = 0,
    received: int = 0,
    sent: int = 0,
    active: int = 0,
    errors: int = 0,
    status: str = "OPEN",
) -> str:
    """Return a row of the statistics."""
    return f"{name},FRONTEND,{active},{connections},{received},{sent},{errors},{status},,0,\n"


def backend(name: str, servers: Mapping[str, str | tuple[str, int]], status: str = "UP") -> str:
    """Return the rows of a backend.

    :param servers: name to status, or to status and weight.
    """
    rows = ""
    for server, state in servers.items():
        text, weight = state if isinstance(state, tuple) else (state, 1)
        rows += f"{name},{server},0,0,0,0,,{text},{weight},2,\n"
    return rows + f"{name},BACKEND,0,0,0,0,,{status},1,1,\n"
