# SPDX-License-Identifier: Apache-2.0
"""A service as a supervising process manager holds it in memory."""

from __future__ import annotations

import threading
import time

from amphora.drivers.process_manager.records import ServiceRecord
from amphora.drivers.process_manager.service_log import ServiceLog
from amphora.models import RestartPolicy, ServiceState, ServiceStatus


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
