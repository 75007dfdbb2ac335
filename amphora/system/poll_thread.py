# SPDX-License-Identifier: Apache-2.0
"""A thread that waits for descriptors (poll(2)) and acts when one is ready, or when it is woken."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

LOG = logging.getLogger(__name__)

#: Seconds after a step that failed.
_RETRY_INTERVAL = 0.1

#: Acts on the descriptors that are ready; returns those to wait for next, and the seconds until the next
#: step if none becomes ready, None for no limit.
Step = Callable[[Collection[int]], tuple[Iterable[int], float | None]]


class _Closeable(Protocol):
    def close(self) -> None: ...


class PollThread:
    """Runs one step again and again in a thread of its own; an error in it is logged and never the last.

    :param step: called first when the thread starts. No descriptor is ready then, after a time-out, after
        :meth:`wake`, and 0.1 s after a step that raised.
    """

    def __init__(self, name: str, step: Step) -> None:
        self._step = step
        self._lock = threading.Lock()
        self._closing = False
        self._to_close: list[_Closeable] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # A daemon: it must never keep the process from ending.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def is_running(self) -> bool:
        """Whether steps are run."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Run the first step soon, and from then on. Safe to repeat."""
        with self._lock:
            if self._thread.ident is None and not self._closing:
                self._thread.start()

    def wake(self) -> None:
        """Have a step run soon. Safe to repeat, also after the end."""
        with self._lock:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def close_later(self, resource: _Closeable) -> None:
        """Close what a step may be waiting for, once it no longer does.

        A descriptor closed while it is polled could come to mean another file.
        """
        with self._lock:
            self._to_close.append(resource)
        self.wake()

    def close(self) -> None:
        """End the thread after the step under way, and close what is left to close. Safe to repeat."""
        self._closing = True
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._close_all(self._to_close)
        with self._lock:
            if self._wake >= 0:
                os.close(self._wake)
            self._wake = -1

    def _run(self) -> None:
        ready: Collection[int] = ()
        while not self._closing:
            # What is added from here on is closed after the next step, which does not wait for it.
            with self._lock:
                to_close, self._to_close = self._to_close, []
            try:
                descriptors, seconds = self._step(ready)
            except Exception:
                LOG.exception("%s failed unexpectedly; retrying", self._thread.name)
                descriptors, seconds = (), _RETRY_INTERVAL
            self._close_all(to_close)
            ready = self._poll(descriptors, seconds)

    def _poll(self, descriptors: Iterable[int], seconds: float | None) -> Collection[int]:
        poller = select.poll()
        for descriptor in (self._wake, *descriptors):
            poller.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poller.poll(None if seconds is None else seconds * 1000)}
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return ready - {self._wake}

    def _close_all(self, resources: list[_Closeable]) -> None:
        while resources:
            resources.pop().close()
