# SPDX-License-Identifier: Apache-2.0
"""Calls that nobody waits for without end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from amphora.errors import StepTimeout

LOG = logging.getLogger(__name__)

R = TypeVar("R")


class LimitedCall(Generic[R]):
    """A call in a thread of its own, that is waited for no longer than a time.

    The thread cannot be ended from outside. One that comes back too late is logged, and what it did
    then is for drift detection to find.

    :ivar limit: seconds.
    :ivar what: names it in the log.
    """

    def __init__(self, function: Callable[[], R], limit: float, what: str) -> None:
        self.limit = limit
        self.what = what
        self._function = function
        self._results: list[R] = []
        self._errors: list[BaseException] = []
        self._is_late = threading.Event()
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self._thread.start()

    def result(self) -> R:
        """Return what the function returns, or raise what it raises.

        :raises StepTimeout: it has taken longer than the limit.
        """
        if not self.ended_within(self.limit):
            self._is_late.set()
            raise StepTimeout(f"{self.what} did not come back within {self.limit:g} s")
        if self._errors:
            raise self._errors[0]
        return self._results[0]

    def ended_within(self, seconds: float) -> bool:
        """Wait for its end and return whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._results.append(self._function())
        except BaseException as error:  # handed to the caller's thread
            self._errors.append(error)
        if self._is_late.is_set():
            LOG.warning("%s came back after its time limit", self.what)
