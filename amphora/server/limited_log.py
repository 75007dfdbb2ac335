# SPDX-License-Identifier: Apache-2.0
"""A rate limit for log lines that unauthenticated clients can cause, so that a flood cannot fill the disk."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable


class LimitedLog:
    """Writes at most ``lines`` messages per ``seconds``; the next one says how many were left out.

    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        logger: logging.Logger,
        lines: int = 10,
        seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        self._window_end = float("-inf")
        self._written = 0
        self._left_out = 0

    def write(self, level: int, message: str) -> None:
        """Write one message, or count it if the limit is reached."""
        now = self._clock()
        if now >= self._window_end:
            self._window_end = now + self._seconds
            self._written = 0
        if self._written >= self._lines:
            self._left_out += 1
            return
        self._written += 1
        if self._left_out:
            message = f"{message} ({self._left_out} similar messages were left out)"
            self._left_out = 0
        self._logger.log(level, "%s", message)
