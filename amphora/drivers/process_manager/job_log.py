# SPDX-License-Identifier: Apache-2.0
"""What a job has printed, as upstart keeps it (``console log``, init(5))."""

from __future__ import annotations

import os
from pathlib import Path

from amphora.errors import ServiceError, StorageError
from amphora.system import files

_TAIL_SIZE = 4096
_TAIL_LINES = 20


class JobLog:
    """The log of one job. Upstart writes it and logrotate bounds it; it is only read here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin = 0

    def begin(self) -> None:
        """Leave aside what is there already."""
        try:
            self._begin = self._path.stat().st_size
        except OSError:
            self._begin = 0

    def tail(self) -> str:
        """Return the last lines since then, a few kilobytes at most; empty if there are none."""
        try:
            with self._path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                # Smaller than it was: rotated meanwhile.
                begin = self._begin if self._begin <= size else 0
                stream.seek(max(begin, size - _TAIL_SIZE))
                text = stream.read(_TAIL_SIZE).decode("utf-8", "replace")
        except OSError:
            return ""
        return "\n".join(text.strip().splitlines()[-_TAIL_LINES:])

    def remove(self) -> None:
        """Remove it; safe to repeat.

        :raises ServiceError: it is still there.
        """
        try:
            files.remove(self._path)
        except StorageError as error:
            raise ServiceError(error.details) from error
