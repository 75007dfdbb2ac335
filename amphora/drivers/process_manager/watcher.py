# SPDX-License-Identifier: Apache-2.0
"""One thread that notices the end of every supervised process, child or adopted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.system.poll_thread import PollThread


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
        self._thread = PollThread("process-watcher", self._step)

    def start(self) -> None:
        """Begin to watch, processes given before included."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and close all handles; the processes go on. Safe to repeat."""
        self._thread.close()
        for handle in self._watched.values():
            handle.close()

    def watch(self, name: str, handle: ProcessHandle) -> None:
        """Watch a process, instead of the one watched under this name so far."""
        with self._lock:
            self._discard(name)
            self._watched[name] = handle
        self._thread.wake()

    def forget(self, name: str) -> None:
        """Stop watching the process of this name; safe to repeat."""
        with self._lock:
            self._discard(name)

    def _discard(self, name: str) -> None:
        handle = self._watched.pop(name, None)
        if handle is not None:
            self._thread.close_later(handle)

    def _step(self, ready: Collection[int]) -> tuple[list[int], float]:
        with self._lock:
            ended = [each for each in self._watched.items() if each[1].fileno() in ready]
        for name, handle in ended:
            self._ended(name, handle)
        if not ready:
            self._on_tick()
        with self._lock:
            return [handle.fileno() for handle in self._watched.values()], self._tick

    def _ended(self, name: str, handle: ProcessHandle) -> None:
        outcome = handle.reap()
        with self._lock:
            if self._watched.get(name) is not handle:
                return
            self._discard(name)
        self._on_exit(name, handle.pid, outcome)
