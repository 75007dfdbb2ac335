# SPDX-License-Identifier: Apache-2.0
"""Watches upstart's jobs: which are ready, which have ended and why, and which upstart no longer retries."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Collection
from pathlib import Path

from amphora.drivers.process_manager.managed_service import restart_delay
from amphora.drivers.process_manager.notify_socket import NotifySocket
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.upstart.initctl import Initctl, describe_end, read_log
from amphora.drivers.process_manager.upstart.jobs import JobStore
from amphora.errors import ServiceError
from amphora.models import Readiness, ServiceSpec
from amphora.system.poll_thread import PollThread
from amphora.system.processes import ProcessIdentity

LOG = logging.getLogger(__name__)

#: Seconds between two checks while something that should run does not, and while all is well.
_BUSY_INTERVAL = 0.05
_IDLE_INTERVAL = 60.0

#: Seconds for upstart to log how a process ended.
_END_TIMEOUT = 1.0

#: Seconds to leave a job alone while upstart works on it.
_SETTLING_TIME = 0.5


class WatchedJob:
    """What is known of a job beyond its files. Written by the supervisor, and by a start under way.

    :ivar process: its main process when last checked, alive or not.
    :ivar handle: holds that process while it lives.
    :ivar ready_process: the process that is known to be ready.
    :ivar is_starting: a start asked for is under way; it deals with a process that ends meanwhile.
    :ivar end_noted: the end of ``process`` has been noted.
    :ivar last_error: why it last ended or failed to start.
    :ivar retry_at: when to check whether upstart still retries it, in the time of :func:`time.monotonic`.
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
        # A failed start after a noted crash is no evidence of how long anything ran.
        is_first_word = self.process is not None and not self.end_noted
        ran_for = (self.ended_at or time.monotonic()) - self.seen_at
        if is_first_word and ran_for >= self._stable_after:
            self._crashes = 0
        self._crashes += 1
        self.last_error = how
        self.end_noted = True
        self.retry_at = time.monotonic() + self._delay()

    def note_running(self, process: ProcessIdentity | None) -> None:
        """Forget former crashes: it was started again, and this process is ready."""
        self.ready_process = process
        self._crashes = 0
        self.last_error = ""

    def put_off(self, seconds: float) -> None:
        """Check later whether upstart still retries it."""
        self.retry_at = time.monotonic() + seconds

    def drop_handle(self) -> None:
        """Close the handle of the process."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None

    def close(self) -> None:
        """Close handle and socket; the service goes on."""
        self.drop_handle()
        if self.socket is not None:
            self.socket.close()

    def _delay(self) -> float:
        return restart_delay(self.spec.restart, self._crashes)


class JobSupervisor:
    """Watches jobs by name. Upstart restarts what crashes; what it no longer retries is started here.

    :param stable_after: seconds a service must have run for a crash to count as the first in a row.
    """

    def __init__(self, store: JobStore, initctl: Initctl, kernel_log: Path, stable_after: float) -> None:
        self._store = store
        self._initctl = initctl
        self._kernel_log = kernel_log
        self._stable_after = stable_after
        self._lock = threading.Lock()
        self._jobs: dict[str, WatchedJob] = {}
        self._retries: set[threading.Thread] = set()
        self._closing = False
        self._thread = PollThread("job-supervisor", self._step)

    @property
    def is_running(self) -> bool:
        """Whether ends of processes are noticed."""
        return self._thread.is_running

    def start(self) -> None:
        """Begin to watch, jobs added before included; safe to repeat."""
        self._thread.start()

    def close(self) -> None:
        """End the thread and watch no job any longer; they go on. Safe to repeat."""
        self._closing = True
        self._thread.close()
        for thread in list(self._retries):
            thread.join(timeout=_END_TIMEOUT)
        for job in self._jobs.values():
            job.close()

    def add(self, spec: ServiceSpec) -> WatchedJob:
        """Watch a job, or follow its changed spec; return what is known of it.

        A process found alive at first counts as ready: its start has waited for that.

        :raises ServiceError: its notify socket cannot be made.
        """
        with self._lock:
            job = self._jobs.get(spec.name)
            if job is not None:
                job.take_spec(spec)
                return job
            job = WatchedJob(spec, self._store.paths(spec.name).notify, self._stable_after)
            job.see(self._store.recorded(spec.name))
            job.ready_process = job.process
            job.put_off(_SETTLING_TIME)
            self._jobs[spec.name] = job
        self.wake()
        return job

    def get(self, name: str) -> WatchedJob | None:
        """Return what is known of a job."""
        with self._lock:
            return self._jobs.get(name)

    def forget(self, name: str) -> None:
        """Watch a job no longer; safe to repeat."""
        with self._lock:
            job = self._jobs.pop(name, None)
            if job is not None:
                self._thread.close_later(job)

    def wake(self) -> None:
        """Have all jobs checked now."""
        self._thread.wake()

    def how_it_ended(self, name: str, pid: int | None) -> str:
        """Return how a main process, or the last one, ended; empty when not logged within a second."""
        deadline = time.monotonic() + _END_TIMEOUT
        while True:
            how = describe_end(read_log(self._kernel_log), name, pid)
            if how or time.monotonic() >= deadline:
                return how
            time.sleep(_BUSY_INTERVAL)

    def _step(self, _ready: Collection[int]) -> tuple[list[int], float]:
        with self._lock:
            jobs = list(self._jobs.values())
        busy = [self._guarded_update(job) for job in jobs]
        # The descriptor of a process that has ended stays readable: it would wake the thread at once.
        sources = [(job.socket, job.handle if job.ended_at is None else None) for job in jobs]
        descriptors = [source.fileno() for pair in sources for source in pair if source is not None]
        return descriptors, _BUSY_INTERVAL if any(busy) else _IDLE_INTERVAL

    def _guarded_update(self, job: WatchedJob) -> bool:
        try:
            return self._update(job)
        except Exception:
            # The other jobs must not go unsupervised.
            LOG.exception("Service %s: supervision failed unexpectedly", job.spec.name)
            return True

    def _update(self, job: WatchedJob) -> bool:
        """Note what has changed; return whether to check again soon."""
        recorded = self._store.recorded(job.spec.name)
        if recorded != job.process:
            if job.process is not None and not job.end_noted:
                self._note_end(job, job.process, has_successor=True)
            job.see(recorded)
        self._receive_reports(job)
        if job.process is not None and job.process.is_alive():
            if job.is_ready(job.process):
                # It stays so when the spec changes by which it became ready.
                job.ready_process = job.process
            self._end_if_never_ready(job, job.process)
            return not job.is_ready(job.process)
        if job.ended_at is None:
            job.ended_at = time.monotonic()
        if job.is_starting or not self._store.is_wanted(job.spec.name):
            return job.is_starting
        if job.process is not None and not job.end_noted:
            self._note_end(job, job.process, has_successor=False)
        if job.spec.restart.on_crash and not job.is_retried and time.monotonic() >= job.retry_at:
            self._in_background(job)
        return job.spec.restart.on_crash or not job.end_noted

    def _receive_reports(self, job: WatchedJob) -> None:
        if job.socket is None:
            return
        senders = job.socket.ready_senders()
        if job.process is not None and any(_is_of(sender, job.process) for sender in senders):
            job.ready_process = job.process

    def _note_end(self, job: WatchedJob, process: ProcessIdentity, *, has_successor: bool) -> None:
        name = job.spec.name
        if job.is_starting or not self._store.is_wanted(name):
            return
        how = describe_end(read_log(self._kernel_log), name, process.pid)
        waited = time.monotonic() - (job.ended_at or time.monotonic())
        if not how and not has_successor and waited < _END_TIMEOUT:
            return
        job.note_end(f"process {process.pid} {how or 'ended; upstart has not logged how'}")
        LOG.warning("Service %s: %s", name, job.last_error)

    def _end_if_never_ready(self, job: WatchedJob, process: ProcessIdentity) -> None:
        """Kill a process that upstart started again and that has not become ready in time."""
        late = time.monotonic() - job.seen_at > job.spec.start_timeout
        if job.is_ready(process) or job.is_starting or not late or job.handle is None:
            return
        LOG.warning(
            "Service %s: not ready within %g s of its start; killing it",
            job.spec.name,
            job.spec.start_timeout,
        )
        job.handle.send(signal.SIGKILL)

    def _in_background(self, job: WatchedJob) -> None:
        def run() -> None:
            try:
                self._retry(job)
            except Exception:
                LOG.exception("Service %s: restart failed unexpectedly", job.spec.name)
            finally:
                job.is_retried = False
                self._retries.discard(thread)

        job.is_retried = True
        thread = threading.Thread(target=run, name="job-retry", daemon=True)
        self._retries.add(thread)
        thread.start()

    def _retry(self, job: WatchedJob) -> None:
        """Start a job that upstart no longer retries: it respawned too often, or its pre-start failed."""
        name = job.spec.name
        try:
            status = self._initctl.status(name)
            if status is None:
                raise ServiceError(f"upstart does not know the job {name}")
            if not status.is_at_rest:
                job.put_off(_SETTLING_TIME)
                return
            if self._closing or job.is_starting or not self._store.is_wanted(name):
                return
            LOG.warning("Service %s: upstart no longer retries; restarting it", name)
            self._initctl.start(name, job.spec.start_timeout)
            job.put_off(_SETTLING_TIME)
        except ServiceError as error:
            job.note_end(error.details)
            LOG.warning("Service %s: restart failed: %s", name, error.details)


def _is_of(sender: int, process: ProcessIdentity) -> bool:
    """Whether a report comes from a process or from one in its session."""
    if sender == process.pid:
        return True
    try:
        return os.getsid(sender) == os.getsid(process.pid)
    except OSError:
        return False
