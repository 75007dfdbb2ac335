# SPDX-License-Identifier: Apache-2.0
"""The output of a service, kept in a file of bounded size.

A file and not a pipe: the service outlives the agent, and a pipe without a reader would end it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.errors import ServiceError
from amphora.system import files

#: Bytes after which a log is shortened, and bytes of the end that are kept then.
SIZE_LIMIT = 1024 * 1024
KEPT_SIZE = 64 * 1024

#: Bytes returned of the output since a start or reload.
OUTPUT_SIZE = 64 * 1024

_TAIL_SIZE = 4096
_TAIL_LINES = 20


class OutputFile:
    """The output of one service in a file that another program writes and bounds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._marked_at: int | None = None

    def mark(self) -> None:
        """Remember the present end of the output."""
        try:
            self._marked_at = self._path.stat().st_size
        except OSError:
            self._marked_at = 0

    def since_mark(self) -> str:
        """Return the output since the mark, over all runs; empty if there is none, or no mark."""
        return "" if self._marked_at is None else self._output_since(self._marked_at)

    def tail(self) -> str:
        """Return the last lines since the mark, a few kilobytes at most; empty if there are none."""
        return last_lines(self.since_mark())

    @as_service_error()
    def remove(self) -> None:
        """Remove the file; safe to repeat.

        :raises ServiceError: it is still there.
        """
        files.remove(self._path)

    def _output_since(self, began_at: int) -> str:
        try:
            with self._path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                # Smaller than it was: emptied or rotated meanwhile.
                began = began_at if began_at <= size else 0
                stream.seek(max(began, size - OUTPUT_SIZE))
                return stream.read(OUTPUT_SIZE).decode("utf-8", "replace").strip()
        except OSError:
            return ""


class ServiceLog(OutputFile):
    """The output of one service, appended by its processes themselves and bounded here."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._run_began_at = 0

    @as_service_error()
    def open_for_run(self) -> int:
        """Return a descriptor for the output of a new run, which the caller closes.

        Called while no process of the service lives, so a log that is too long can be replaced.

        :raises ServiceError: it cannot be written.
        """
        try:
            data = files.read_if_present(self._path) or b""
            if len(data) > KEPT_SIZE:
                if self._marked_at is not None:
                    self._marked_at = max(0, self._marked_at - len(data) + KEPT_SIZE)
                data = data[-KEPT_SIZE:]
                files.write_atomically(self._path, data)
            self._run_began_at = len(data)
            return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServiceError(f"{self._path} cannot be written: {error.strerror}") from error

    def tail(self) -> str:
        """Return the last lines of the current run, a few kilobytes at most; empty if there are none."""
        return last_lines(self._output_since(self._run_began_at))

    def bound(self) -> None:
        """Empty a log that has grown too long while the service runs.

        In place, as the service holds it open; all its processes append, so they go on at the new end.
        """
        with contextlib.suppress(OSError):
            if self._path.stat().st_size > SIZE_LIMIT:
                os.truncate(self._path, 0)


def last_lines(text: str) -> str:
    """Return the last 20 lines of a text, four kilobytes at most."""
    return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])[-_TAIL_SIZE:]
