# SPDX-License-Identifier: Apache-2.0
"""Run a call with a time limit."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from oslo_context import context

from amphora.errors import StepTimeout

LOG = logging.getLogger(__name__)

R = TypeVar("R")


class CallWithTimeout(Generic[R]):
    """A call in a thread of its own, with a time limit.

    Its log lines carry the id of the caller's request. The thread cannot be ended from outside: one that
    returns too late is logged, and drift detection finds what it did.

    :ivar limit: seconds.
    :ivar what: names it in the log.
    """

    def __init__(self, function: Callable[[], R], limit: float, what: str) -> None:
        self.limit = limit
        self.what = what
        self._function = function
        self._context = context.get_current()
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
        if self._context is not None:
            self._context.update_store()
        try:
            self._results.append(self._function())
        except BaseException as error:  # handed to the caller's thread
            self._errors.append(error)
        if self._is_late.is_set():
            LOG.warning("%s came back after its time limit", self.what)
