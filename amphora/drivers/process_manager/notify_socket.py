# SPDX-License-Identifier: Apache-2.0
"""The receiving side of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import ServiceError

_MESSAGE_LIMIT = 4096
_CREDENTIALS = struct.Struct("3i")
_FAILURE = re.compile(r"\bfail", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notification:
    """One message of a service about itself.

    :ivar ready: it has finished starting.
    :ivar main_pid: its new main process, if it names one.
    :ivar status: its status line, if it sent one.
    """

    ready: bool = False
    main_pid: int | None = None
    status: str = ""

    @property
    def has_started(self) -> bool:
        """Whether it is ready and does not report a failure in the same message.

        haproxy 3.1 or newer sends ``READY=1`` and ``STATUS=Reload failed!`` when a first start fails, and
        ends.
        """
        return self.ready and not tells_of_failure(self.status)


def tells_of_failure(status: str) -> bool:
    """Whether a status line reports that something has failed, as in sd_notify(3)'s example."""
    return _FAILURE.search(status) is not None


def parse_notification(message: bytes) -> Notification:
    """Return the content of a message; unknown or invalid lines are ignored."""
    fields = {}
    for line in message.decode("utf-8", "replace").split("\n"):
        name, assigned, value = line.partition("=")
        if assigned:
            fields[name] = value
    main_pid = fields.get("MAINPID", "")
    is_number = main_pid.isascii() and main_pid.isdigit() and len(main_pid) < 10 and int(main_pid) > 0
    return Notification(
        ready=fields.get("READY") == "1",
        main_pid=int(main_pid) if is_number else None,
        status=fields.get("STATUS", ""),
    )


class NotifySocket:
    """A datagram socket that services report to.

    It has a path rather than an abstract name, as those differ between network namespaces.
    """

    def __init__(self, path: Path) -> None:
        """Listen at a path; a socket left there is replaced.

        :raises ServiceError: the path is too long or cannot be made.
        """
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            path.unlink(missing_ok=True)
            # With each message comes the sender's id (unix(7)), so that a late report of a process that has
            # ended is not taken for its successor's.
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self._socket.setblocking(False)
            self._socket.bind(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise ServiceError(f"notify socket {path} cannot be made: {error}") from error

    @classmethod
    @contextlib.contextmanager
    def bound_to(cls, path: Path) -> Iterator[NotifySocket]:
        """Listen at a path while the context lasts.

        :raises ServiceError: the path is too long or cannot be made.
        """
        with contextlib.closing(cls(path)) as listener:
            yield listener

    def fileno(self) -> int:
        """Return the descriptor; it is readable when a message is waiting."""
        return self._socket.fileno()

    def receive(self) -> Notification:
        """Return the next message, or an empty one if none is waiting."""
        return (self._next() or (0, Notification()))[1]

    def ready_senders(self) -> set[int]:
        """Return the ids of all processes that have reported to be ready since the last call."""
        senders = set()
        while (report := self._next()) is not None:
            if report[1].has_started:
                senders.add(report[0])
        return senders

    def close(self) -> None:
        """Stop listening and remove the path.

        A service that goes on reporting then fails at once rather than blocking on a full queue.
        """
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
        self._socket.close()

    def _next(self) -> tuple[int, Notification] | None:
        """Return the next message and its sender's process id, or None if none is waiting."""
        try:
            message, control, _, _ = self._socket.recvmsg(
                _MESSAGE_LIMIT, socket.CMSG_SPACE(_CREDENTIALS.size)
            )
        except BlockingIOError:
            return None
        # Only credentials are requested; they are missing if the kernel lacked memory for them.
        sender = _CREDENTIALS.unpack(control[0][2])[0] if control else 0
        return sender, parse_notification(message)
