# SPDX-License-Identifier: Apache-2.0
"""The receiving side of sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import ServiceError

_MESSAGE_LIMIT = 4096
_FAILURE = re.compile(r"\bfail", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Notification:
    """One message of a service about itself.

    :ivar ready: it has finished starting.
    :ivar main_pid: the process to take for its main one from now on, if it said so.
    :ivar status: one line for people, if it sent one.
    """

    ready: bool = False
    main_pid: int | None = None
    status: str = ""

    @property
    def has_started(self) -> bool:
        """Whether it is ready and does not tell of a failure in the same breath.

        haproxy 3.1 or newer says ``READY=1`` and ``STATUS=Reload failed!`` at a first start that fails, and
        ends.
        """
        return self.ready and not tells_of_failure(self.status)


def tells_of_failure(status: str) -> bool:
    """Whether a service's line for people says that something has failed, as in sd_notify(3)'s example."""
    return _FAILURE.search(status) is not None


def parse_notification(message: bytes) -> Notification:
    """Return what a message says; lines that are unknown or make no sense are passed over."""
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
    """A datagram socket a service being started reports to.

    It has a path rather than an abstract name, as those differ between network namespaces.
    """

    def __init__(self, bound: socket.socket) -> None:
        self._socket = bound

    @classmethod
    @contextlib.contextmanager
    def bound_to(cls, path: Path) -> Iterator[NotifySocket]:
        """Listen at a path while the context lasts; a socket left there is replaced.

        Afterwards the path is gone, so that a service that goes on reporting fails at once rather
        than blocking when nobody empties the queue.

        :raises ServiceError: the path is too long or cannot be made.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            path.unlink(missing_ok=True)
            try:
                listener.bind(os.fspath(path))
            except OSError as error:
                raise ServiceError(f"notify socket {path} cannot be made: {error}") from error
            try:
                listener.setblocking(False)
                yield cls(listener)
            finally:
                path.unlink(missing_ok=True)

    def fileno(self) -> int:
        """Return the descriptor; it is readable when a message is waiting."""
        return self._socket.fileno()

    def receive(self) -> Notification:
        """Return the next message, or one that says nothing if none is waiting."""
        try:
            return parse_notification(self._socket.recv(_MESSAGE_LIMIT))
        except BlockingIOError:
            return Notification()
