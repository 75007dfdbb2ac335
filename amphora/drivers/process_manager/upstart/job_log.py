# SPDX-License-Identifier: Apache-2.0
"""What a job has printed, as upstart keeps it (``console log``, init(5))."""

from __future__ import annotations

from pathlib import Path

from amphora.drivers.process_manager.service_log import last_lines, output_since, size_of
from amphora.errors import ServiceError, StorageError
from amphora.system import files


class JobLog:
    """The log of one job. Upstart writes it and logrotate bounds it; it is only read here."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._begin: int | None = None

    def begin(self) -> None:
        """Leave aside what is there already."""
        self._begin = size_of(self._path)

    def tail(self) -> str:
        """Return the last lines since then, a few kilobytes at most; empty if there are none."""
        return last_lines(self.output())

    def output(self) -> str:
        """Return what was printed since then; empty if there is nothing, or no such moment."""
        return "" if self._begin is None else output_since(self._path, self._begin)

    def remove(self) -> None:
        """Remove it; safe to repeat.

        :raises ServiceError: it is still there.
        """
        try:
            files.remove(self._path)
        except StorageError as error:
            raise ServiceError(error.details) from error
