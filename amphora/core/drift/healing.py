# SPDX-License-Identifier: Apache-2.0
"""When drift may be undone without a request, and how often."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds from one attempt to the next; doubles with each that did not help for good.
_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 3600.0


@dataclass(slots=True)
class _Attempts:
    pause: float
    last: float
    clean_since: float | None = None


class HealingLimit:
    """Spaces attempts to heal one object, so that a cause which comes again does not make a storm.

    An object counts as healed for good when it has been without drift for as long as the last pause was.

    :param first_pause: seconds.
    """

    def __init__(
        self, first_pause: float = _FIRST_PAUSE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._first_pause = first_pause
        self._clock = clock
        self._attempts: dict[tuple[str, str], _Attempts] = {}

    def may_try(self, key: tuple[str, str]) -> bool:
        """Whether it is time for another attempt."""
        attempts = self._attempts.get(key)
        return attempts is None or self._clock() >= attempts.last + attempts.pause

    def tried(self, key: tuple[str, str]) -> None:
        """Count an attempt, successful or not."""
        former = self._attempts.get(key)
        pause = self._first_pause if former is None else min(former.pause * 2, _LONGEST_PAUSE)
        self._attempts[key] = _Attempts(pause, self._clock())

    def drifting(self, keys: frozenset[tuple[str, str]]) -> None:
        """Say which objects have drift now; all others have none."""
        now = self._clock()
        for key, attempts in list(self._attempts.items()):
            if key in keys:
                attempts.clean_since = None
            elif attempts.clean_since is None:
                attempts.clean_since = now
            elif now >= attempts.clean_since + attempts.pause:
                del self._attempts[key]
