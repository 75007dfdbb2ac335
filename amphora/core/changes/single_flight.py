# SPDX-License-Identifier: Apache-2.0
"""Lets callers who want the same thing at the same time have it done once, each with a true answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

R = TypeVar("R")


class _Flight(Generic[R]):
    def __init__(self, wanted: Hashable) -> None:
        self.wanted = wanted
        self.landed = threading.Event()
        self.result: list[R] = []
        self.error: BaseException | None = None

    def fly(self, work: Callable[[], R]) -> None:
        try:
            self.result.append(work())
        except BaseException as error:  # every caller gets it
            self.error = error
        self.landed.set()

    def outcome(self) -> R:
        if self.error is not None:
            raise self.error
        return self.result[0]


class Flights(Generic[R]):
    """For each key one piece of work at a time, and at most one more that waits for it.

    A controller that has lost patience sends the same request again while the first still runs: it
    joins the first. A burst of requests joins the one that has not begun yet, which will see the state
    that all of them wanted.
    """

    def __init__(self) -> None:
        self._guard = threading.Condition()
        self._flying: dict[Hashable, _Flight[R]] = {}
        self._waiting: dict[Hashable, _Flight[R]] = {}

    def join(self, key: Hashable, work: Callable[[], R]) -> R:
        """Do the work, or wait for somebody who is doing it already, and return its result.

        :param key: all that the work depends on, so that equal ones want the same.
        :raises BaseException: what the work raised, to everybody who waited for it.
        """
        return self.run(key, lambda: None, work)

    def run(self, key: Hashable, wanted: Callable[[], Hashable], work: Callable[[], R]) -> R:
        """Do the work, or wait for somebody who is doing the same, and return its result.

        :param key: what is worked on.
        :param wanted: the state of affairs that the work will act upon, as it is at the moment of the
            call; work under way is joined only if it began from an equal one.
        :raises BaseException: what the work raised, to everybody who waited for it.
        """
        with self._guard:
            state = wanted()
            flying = self._flying.get(key)
            if flying is not None and flying.wanted == state:
                mine, joined = flying, True
            elif key in self._waiting:
                mine, joined = self._waiting[key], True
            else:
                mine, joined = _Flight[R](state), False
                self._waiting[key] = mine
        if joined:
            mine.landed.wait()
            return mine.outcome()
        self._take_off(key, mine, wanted)
        try:
            mine.fly(work)
        finally:
            with self._guard:
                del self._flying[key]
                self._guard.notify_all()
        return mine.outcome()

    def _take_off(self, key: Hashable, mine: _Flight[R], wanted: Callable[[], Hashable]) -> None:
        with self._guard:
            while key in self._flying:
                self._guard.wait()
            # Asked again, as it acts upon what is there now and not upon what was when it was called.
            mine.wanted = wanted()
            self._flying[key] = self._waiting.pop(key)
