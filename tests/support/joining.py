# SPDX-License-Identifier: Apache-2.0
"""Requests that come while the first of their kind is under way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from amphora.core.changes.single_flight import SingleFlight

_PATIENCE = 60.0


class Gate:
    """Holds every call of a method of a fake until it is opened.

    :ivar entered: released by each call, before it is held.
    """

    def __init__(self, owner: object, method: str) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        go_on = getattr(owner, method)

        def held(*arguments: Any, **named: Any) -> Any:
            self.entered.release()
            assert self.open.wait(_PATIENCE)
            return go_on(*arguments, **named)

        setattr(owner, method, held)


def together(gate: Gate, call: Callable[[], Any], count: int = 4) -> list[Any]:
    """Return the answers, or errors, of calls that all come while the first is held."""
    answers: list[Any] = []

    def note() -> None:
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=note) for _ in range(count)]
    threads[0].start()
    assert gate.entered.acquire(timeout=_PATIENCE)
    for thread in threads[1:]:
        thread.start()
    try:
        _await(lambda: all(map(_has_joined, threads[1:])))
    finally:
        gate.open.set()
    for thread in threads:
        thread.join(_PATIENCE)
        assert not thread.is_alive()
    return answers


def _has_joined(thread: threading.Thread) -> bool:
    """Whether a thread waits for what another one does."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_back is not None:
        if frame.f_code is threading.Event.wait.__code__ and frame.f_back.f_code is SingleFlight.run.__code__:
            return True
        frame = frame.f_back
    return False


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "the other requests do not wait for the first"
        time.sleep(0.01)
