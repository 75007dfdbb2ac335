# SPDX-License-Identifier: Apache-2.0
"""One thread that notices the end of every supervised process, child or adopted."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
from collections.abc import Callable

from amphora.drivers.process_manager.process_handle import ProcessHandle

LOG = logging.getLogger(__name__)


class Watcher:
    """Watches processes by name of service. It owns the handles given to it and closes them.

    :param on_exit: called in the watcher's thread with the name, the process id and how the process
        ended; must return at once.
    :param on_tick: called in the watcher's thread every ``tick`` seconds.
    """

    def __init__(
        self, on_exit: Callable[[str, int, str], None], on_tick: Callable[[], None], tick: float = 60.0
    ) -> None:
        self._on_exit = on_exit
        self._on_tick = on_tick
        self._tick = tick
        self._lock = threading.Lock()
        self._watched: dict[str, ProcessHandle] = {}
        # Closed by the thread only: a descriptor closed while it polls could come to mean another file.
        self._discarded: list[ProcessHandle] = []
        self._closing = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="process-watcher", daemon=True)

    def start(self) -> None:
        """Begin to watch, what was given before included. Called once."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and close all handles; the processes go on. Safe to repeat."""
        if self._wake < 0:
            return
        self._closing = True
        os.eventfd_write(self._wake, 1)
        if self._thread.ident is not None:
            self._thread.join()
        for handle in (*self._discarded, *self._watched.values()):
            handle.close()
        os.close(self._wake)
        self._wake = -1

    def watch(self, name: str, handle: ProcessHandle) -> None:
        """Watch a process, instead of the one watched under this name so far."""
        with self._lock:
            self._discard(name)
            self._watched[name] = handle
        os.eventfd_write(self._wake, 1)

    def forget(self, name: str) -> None:
        """Watch nothing under this name any more; safe to repeat."""
        with self._lock:
            self._discard(name)
        os.eventfd_write(self._wake, 1)

    def _discard(self, name: str) -> None:
        handle = self._watched.pop(name, None)
        if handle is not None:
            self._discarded.append(handle)

    def _run(self) -> None:
        while not self._closing:
            with self._lock:
                discarded, self._discarded = self._discarded, []
                watched = {handle.fileno(): (name, handle) for name, handle in self._watched.items()}
            for handle in discarded:
                handle.close()
            ready = self._poll(watched)
            for descriptor in ready:
                self._ended(*watched[descriptor])
            if not ready:
                self._guarded(self._on_tick)

    def _poll(self, descriptors: dict[int, tuple[str, ProcessHandle]]) -> list[int]:
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        for descriptor in descriptors:
            poller.register(descriptor, select.POLLIN)
        ready = [descriptor for descriptor, _ in poller.poll(self._tick * 1000)]
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
        return [descriptor for descriptor in ready if descriptor != self._wake]

    def _ended(self, name: str, handle: ProcessHandle) -> None:
        outcome = handle.reap()
        with self._lock:
            if self._watched.get(name) is not handle:
                return
            self._discard(name)
        self._guarded(lambda: self._on_exit(name, handle.pid, outcome))

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            # All services would go unsupervised if this thread ended.
            LOG.exception("Supervision met an unexpected error")
