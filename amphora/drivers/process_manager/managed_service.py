# SPDX-License-Identifier: Apache-2.0
"""A service as a supervising process manager holds it in memory, and the watch over its process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.service_log import ServiceLog
from amphora.models import RestartPolicy, ServiceState, ServiceStatus
from amphora.system.poll_thread import PollThread


class ManagedService:
    """A service's record and what is known of it beyond.

    ``lock`` is held during each change of the service. Attributes may be read
    without it: a record is immutable and replaced whole.

    :ivar is_starting: a start is under way.
    :ivar cancelled: set to cancel a start in the background.
    :ivar last_error: why it last ended or failed to start.
    :ivar removed: it was removed while another thread waited for the lock.
    """

    def __init__(self, record: ServiceRecord, log: ServiceLog, stable_after: float) -> None:
        self.record = record
        self.log = log
        self.lock = threading.Lock()
        self.cancelled = threading.Event()
        self.is_starting = False
        self.removed = False
        self.last_error = ""
        self._stable_after = stable_after
        self._ready_since: float | None = None
        self._crashes = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.spec.name

    def is_alive(self) -> bool:
        """Whether its main process lives."""
        return self.record.process is not None and self.record.process.is_alive()

    def status(self) -> ServiceStatus:
        """Return its state as the processes show it now; never waits."""
        record = self.record
        process = record.process
        if process is not None and process.is_alive():
            state = ServiceState.STARTING if self.is_starting else ServiceState.RUNNING
            return ServiceStatus(state, process.pid, process.started_at(), self.last_error)
        if self.is_starting or (record.wanted and record.spec.restart.on_crash):
            return ServiceStatus(ServiceState.STARTING, last_error=self.last_error)
        state = ServiceState.FAILED if record.wanted else ServiceState.STOPPED
        return ServiceStatus(state, last_error=self.last_error)

    def note_ready(self) -> None:
        """Remember that it runs from now on."""
        self._ready_since = time.monotonic()

    def note_crash(self) -> None:
        """Count a crash or a failed restart; a crash after a long time of running counts as the first."""
        if self._ready_since is not None and time.monotonic() - self._ready_since >= self._stable_after:
            self._crashes = 0
        self._ready_since = None
        self._crashes += 1

    def restart_delay(self) -> float:
        """Return how many seconds to wait before the next start."""
        return restart_delay(self.record.spec.restart, self._crashes)


def restart_delay(policy: RestartPolicy, crashes: int) -> float:
    """Return the seconds to wait after so many crashes in a row; none after zero."""
    if crashes <= 0:
        return 0.0
    # The exponent is bounded too: a float overflows long before a crash loop ends.
    return float(min(policy.delay * 2.0 ** min(crashes - 1, 64), policy.max_delay))


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
