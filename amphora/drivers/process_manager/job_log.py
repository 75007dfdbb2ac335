# SPDX-License-Identifier: Apache-2.0
"""What a job has printed, as upstart keeps it (``console log``, init(5))."""

from __future__ import annotations

from pathlib import Path

from amphora.drivers.process_manager.service_log import tail_since
from amphora.errors import ServiceError, StorageError
from amphora.system import files


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
        return tail_since(self._path, self._begin)

    def remove(self) -> None:
        """Remove it; safe to repeat.

        :raises ServiceError: it is still there.
        """
        try:
            files.remove(self._path)
        except StorageError as error:
            raise ServiceError(error.details) from error
