# SPDX-License-Identifier: Apache-2.0
"""Concurrent callers that ask for the same work have it done once, each with its true result."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

R = TypeVar("R")


class _Call(Generic[R]):
    """One piece of work, and the callers that wait for it."""

    def __init__(self, wanted: Hashable) -> None:
        self.wanted = wanted
        self.done = threading.Event()
        self._result: list[R] = []
        self._error: BaseException | None = None

    def run(self, work: Callable[[], R]) -> None:
        try:
            self._result.append(work())
        except BaseException as error:  # every caller gets it
            self._error = error
        self.done.set()

    def result(self) -> R:
        if self._error is not None:
            raise self._error
        return self._result[0]


class SingleFlight(Generic[R]):
    """For each key one piece of work at a time, and at most one more that waits for it.

    A controller whose request timed out sends it again while the first still runs: it joins the first.
    A burst of requests joins the one that has not begun yet, which will see the state that all of them
    wanted.
    """

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._running: dict[Hashable, _Call[R]] = {}
        self._waiting: dict[Hashable, _Call[R]] = {}

    def join(self, key: Hashable, work: Callable[[], R]) -> R:
        """Do the work, or wait for the caller that does it already, and return its result.

        :param key: all that the work depends on, so that equal ones want the same.
        :raises BaseException: what the work raised, for every caller that waited for it.
        """
        return self.run(key, lambda: None, work)

    def run(self, key: Hashable, wanted: Callable[[], Hashable], work: Callable[[], R]) -> R:
        """Do the work, or wait for the caller that does the same, and return its result.

        :param key: what is worked on.
        :param wanted: returns the state that the work will act upon, at the moment of the call; running
            work is joined only if it began from an equal one.
        :raises BaseException: what the work raised, for every caller that waited for it.
        """
        with self._guard:
            state = wanted()
            running = self._running.get(key)
            if running is not None and running.wanted == state:
                call, joined = running, True
            elif key in self._waiting:
                call, joined = self._waiting[key], True
            else:
                call, joined = _Call[R](state), False
                self._waiting[key] = call
        if joined:
            call.done.wait()
            return call.result()
        self._begin(key, call, wanted)
        try:
            call.run(work)
        finally:
            with self._guard:
                del self._running[key]
                self._guard.notify_all()
        return call.result()

    def _begin(self, key: Hashable, call: _Call[R], wanted: Callable[[], Hashable]) -> None:
        with self._guard:
            while key in self._running:
                self._guard.wait()
            # Read again: the work acts upon the state of now, not of the moment of the call.
            call.wanted = wanted()
            self._running[key] = self._waiting.pop(key)
