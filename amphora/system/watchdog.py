# SPDX-License-Identifier: Apache-2.0
"""Tells a service manager again and again that this process is alive, as long as a check says so."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from amphora.system.notify import notify_alive

LOG = logging.getLogger(__name__)

#: Of the manager's interval: the pause between checks, the same after a failed one, and a check's time limit.
_PAUSE, _SHORT_PAUSE, _LIMIT = 1 / 2, 1 / 10, 1 / 4


class Watchdog:
    """A thread of its own that checks twice in the manager's interval (sd_watchdog_enabled(3)).

    A check that fails is repeated soon, so that one that a busy machine made too slow costs nothing. When
    all of them fail for the whole interval, the manager ends this process and starts another.

    :param check: raises when the process does not do its work; its parameter is its time limit in seconds.
    :param interval: seconds after which the manager gives up.
    :param tell: sends the sign of life.
    """

    def __init__(
        self, check: Callable[[float], None], interval: float, tell: Callable[[], None] = notify_alive
    ) -> None:
        self._check = check
        self._interval = interval
        self._tell = tell
        self._stopped = threading.Event()
        # A daemon: it must never keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Check at once, and from then on. Called once."""
        self._thread.start()

    def stop(self) -> None:
        """Check no more. Safe to repeat; does not wait for a check under way."""
        self._stopped.set()

    def _run(self) -> None:
        pause = 0.0
        failed = False
        while not self._stopped.wait(pause):
            try:
                self._check(self._interval * _LIMIT)
            except Exception as error:
                pause = self._interval * _SHORT_PAUSE
                if not self._stopped.is_set():
                    LOG.error("The agent does not serve, and the service manager will restart it: %s", error)
                    failed = True
            else:
                self._tell()
                pause = self._interval * _PAUSE
                if failed:
                    LOG.warning("The agent serves again")
                    failed = False
