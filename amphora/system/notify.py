# SPDX-License-Identifier: Apache-2.0
"""Reports to a service manager how this process is doing (sd_notify(3)), once or as long as it is alive."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable

LOG = logging.getLogger(__name__)

#: Of the manager's interval: the pause between checks, the same after a failed one, and a check's time limit.
_PAUSE, _SHORT_PAUSE, _LIMIT = 1 / 2, 1 / 10, 1 / 4


def notify_ready() -> None:
    """Say that start-up, or a reload, is complete."""
    _send("READY=1")


def notify_reloading() -> None:
    """Say that the configuration is being read again."""
    _send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")


def notify_stopping() -> None:
    """Say that the process is about to end."""
    _send("STOPPING=1")


def notify_alive() -> None:
    """Say that this process still does its work; to be repeated within :func:`watchdog_interval`."""
    _send("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Return after how many seconds without a keep-alive the manager restarts this process.

    :return: None when it does not watch this process (sd_watchdog_enabled(3)).
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else None


def _send(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    name = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.settimeout(1.0)
            channel.sendto(message.encode(), name)
        except OSError:
            # A manager that went away must not take the agent with it.
            return


class Watchdog:
    """A thread of its own that checks twice in the manager's interval (sd_watchdog_enabled(3)).

    A check that fails is repeated soon, so that one that a busy machine made too slow costs nothing. When
    all of them fail for the whole interval, the manager ends this process and starts another.

    :param check: raises when the process does not do its work; its parameter is its time limit in seconds.
    :param interval: seconds after which the manager restarts this process.
    :param send: sends the keep-alive.
    """

    def __init__(
        self, check: Callable[[float], None], interval: float, send: Callable[[], None] = notify_alive
    ) -> None:
        self._check = check
        self._interval = interval
        self._send = send
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
                    LOG.error(
                        "The agent does not respond, and the service manager will restart it: %s", error
                    )
                    failed = True
            else:
                self._send()
                pause = self._interval * _PAUSE
                if failed:
                    LOG.warning("The agent responds again: recovered")
                    failed = False
