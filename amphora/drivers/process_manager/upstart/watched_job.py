# SPDX-License-Identifier: Apache-2.0
"""One upstart job as the agent watches it."""

from __future__ import annotations

import time
from pathlib import Path

from amphora.drivers.process_manager.managed_service import restart_delay
from amphora.drivers.process_manager.notify_socket import NotifySocket
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.models import Readiness, ServiceSpec
from amphora.system.processes import ProcessIdentity


class WatchedJob:
    """What is known of a job beyond its files. Written by the supervisor, and by a start under way.

    :ivar process: its main process when last looked at, alive or not.
    :ivar handle: holds that process while it lives.
    :ivar ready_process: the process that is known to be ready.
    :ivar is_starting: a start asked for is under way; it deals with a process that ends meanwhile.
    :ivar end_noted: the end of ``process`` has been taken note of.
    :ivar last_error: why it last ended or failed to start.
    :ivar retry_at: when to see whether upstart has given up on it, in the time of :func:`time.monotonic`.
    """

    def __init__(self, spec: ServiceSpec, notify_path: Path, stable_after: float) -> None:
        """Begin to listen for reports, if the service sends any.

        :raises ServiceError: the socket cannot be made.
        """
        self.spec = spec
        self.process: ProcessIdentity | None = None
        self.handle: ProcessHandle | None = None
        self.ready_process: ProcessIdentity | None = None
        self.is_starting = False
        self.is_retried = False
        self.end_noted = False
        self.last_error = ""
        self.retry_at = 0.0
        self.seen_at = time.monotonic()
        self.ended_at: float | None = None
        self._crashes = 0
        self._stable_after = stable_after
        self._notify_path = notify_path
        self.socket: NotifySocket | None = None
        self.take_spec(spec)

    def take_spec(self, spec: ServiceSpec) -> None:
        """Follow a changed spec."""
        self.spec = spec
        if spec.readiness is Readiness.NOTIFY and self.socket is None:
            self.socket = NotifySocket(self._notify_path)

    def see(self, process: ProcessIdentity | None) -> None:
        """Watch another main process from now on."""
        self.drop_handle()
        self.process = process
        self.handle = None if process is None else ProcessHandle.of(process)
        self.end_noted = False
        self.ended_at = None
        self.seen_at = time.monotonic()
        self.retry_at = self.seen_at + self._delay()

    def is_ready(self, process: ProcessIdentity) -> bool:
        """Whether a live process of this service is known to be ready."""
        return self.spec.readiness is not Readiness.NOTIFY or self.ready_process == process

    def note_end(self, how: str) -> None:
        """Count a crash; one after a long time of running counts as the first."""
        # A start that fails after a crash has been noted says nothing of how long anything ran.
        is_first_word = self.process is not None and not self.end_noted
        ran_for = (self.ended_at or time.monotonic()) - self.seen_at
        if is_first_word and ran_for >= self._stable_after:
            self._crashes = 0
        self._crashes += 1
        self.last_error = how
        self.end_noted = True
        self.retry_at = time.monotonic() + self._delay()

    def note_running(self, process: ProcessIdentity | None) -> None:
        """Forget former crashes: somebody has started it anew, and this process is ready."""
        self.ready_process = process
        self._crashes = 0
        self.last_error = ""

    def put_off(self, seconds: float) -> None:
        """Look again later whether upstart has given up on it."""
        self.retry_at = time.monotonic() + seconds

    def drop_handle(self) -> None:
        """Let go of the process."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None

    def close(self) -> None:
        """Let go of everything; the service goes on."""
        self.drop_handle()
        if self.socket is not None:
            self.socket.close()

    def _delay(self) -> float:
        return restart_delay(self.spec.restart, self._crashes)
