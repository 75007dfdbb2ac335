# SPDX-License-Identifier: Apache-2.0
"""What runsv says of a service and does for it (runsv(8)): one directory of two fifos and a status file."""

from __future__ import annotations

import contextlib
import os
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from amphora.errors import ServiceError
from amphora.system.processes import command_line, process_ids

#: A time stamp, the process id, paused, wanted, terminated, state: daemontools' form with runit's last byte.
_STATUS = struct.Struct("<12xIxcxB")


class Phase(Enum):
    """What runsv is at with a service; the values are those of its status file."""

    #: Neither program runs.
    DOWN = 0
    #: ``run``, or what it has become, runs.
    RUN = 1
    #: ``run`` has ended and ``finish`` tidies up.
    FINISH = 2
    #: No runsv cares for this service.
    UNSUPERVISED = -1


@dataclass(frozen=True, slots=True)
class Supervised:
    """One service as its runsv has it.

    :ivar pid: of what runs; None where nothing does.
    """

    phase: Phase
    pid: int | None = None


NOBODY = Supervised(Phase.UNSUPERVISED)


def parse_status(data: bytes) -> Supervised:
    """Return what a status file says.

    :raises ServiceError: it is not one.
    """
    try:
        pid, _wanted, phase = _STATUS.unpack(data)
        return Supervised(Phase(phase), pid or None)
    except (struct.error, ValueError) as error:
        raise ServiceError(f"runsv wrote an unreadable status: {data.hex()}") from error


class Supervision:
    """The runsv of one service. Nothing here forks or waits.

    :param directory: the service's own.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "supervise"

    def look(self) -> Supervised:
        """Return what the service is at.

        :raises ServiceError: it cannot be found out.
        """
        # The file outlives a killed runsv, and is out of date then.
        if not self.is_there():
            return NOBODY
        try:
            return parse_status((self._directory / "status").read_bytes())
        except FileNotFoundError:
            # A runsv that was started this moment.
            return NOBODY
        except OSError as error:
            raise ServiceError(f"{self._directory}/status cannot be read: {error.strerror}") from error

    def is_there(self) -> bool:
        """Whether a runsv lives."""
        return self._write("ok", b"")

    def tell(self, commands: str) -> None:
        """Give runsv commands, each one character (runsv(8), CONTROL).

        :raises ServiceError: there is no runsv.
        """
        if not self._write("control", commands.encode("ascii")):
            raise ServiceError(f"no runsv supervises {self._directory.parent}")

    def _write(self, fifo: str, data: bytes) -> bool:
        # Without a reader, opening a fifo for writing fails rather than waits (fifo(7)).
        with contextlib.suppress(OSError):
            descriptor = os.open(self._directory / fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(descriptor, data)
            finally:
                os.close(descriptor)
            return True
        return False


def is_watched(service_directory: Path) -> bool:
    """Whether a runsvdir starts a runsv for all that appears in a directory (runsvdir(8))."""
    for pid in process_ids():
        program, *arguments = command_line(pid) or ("",)
        if Path(program).name == "runsvdir" and any(_is_same(each, service_directory) for each in arguments):
            return True
    return False


def _is_same(argument: str, directory: Path) -> bool:
    try:
        return argument.startswith("/") and os.path.samefile(argument, directory)
    except OSError:
        return False
