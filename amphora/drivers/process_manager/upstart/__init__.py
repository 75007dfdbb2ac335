# SPDX-License-Identifier: Apache-2.0
"""A process manager that leaves the work to upstart."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.base import ProcessManager
from amphora.drivers.process_manager.members import end_members
from amphora.drivers.process_manager.service_errors import (
    require_none_left,
    run_check,
    send_reload,
    with_output,
)
from amphora.drivers.process_manager.service_log import OutputFile
from amphora.drivers.process_manager.specs import check_spec
from amphora.drivers.process_manager.upstart.initctl import KERNEL_LOG, Initctl
from amphora.drivers.process_manager.upstart.jobs import JobStore
from amphora.drivers.process_manager.upstart.supervisor import JobSupervisor, WatchedJob
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import Readiness, ServiceSpec, ServiceState, ServiceStatus
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity, identify

LOG = logging.getLogger(__name__)

#: Where upstart reads jobs (init(5)) and writes their output (init(8)).
JOB_DIRECTORY = Path("/etc/init")
LOG_DIRECTORY = Path("/var/log/upstart")

INITCTL = Path("/sbin/initctl")

#: Seconds a service without a readiness report must live to count as executed.
_SETTLING_TIME = 0.2

_POLL_INTERVAL = 0.02


class UpstartProcessManager(ProcessManager):
    """Writes a job per service; upstart starts, watches and restarts it, with or without an agent.

    Changes go through initctl(8). States are read from a record that each job writes of its own process,
    so they cost no process. A service that was stopped has an override file that keeps upstart from
    starting it. Only jobs that carry our first line are ever touched or reported.

    Upstart stops retrying a service that crashes too often, without a notice: a thread watches for that and
    starts it again, each time after a longer delay.

    :param state_directory: absolute, for those records and for sockets; made with mode 0700.
    :param stable_after: seconds a service must have run for a crash to count as the first in a row.
    """

    condition = "upstart runs this machine"

    def __init__(
        self,
        runner: CommandRunner,
        state_directory: Path,
        job_directory: Path = JOB_DIRECTORY,
        log_directory: Path = LOG_DIRECTORY,
        initctl: Path = INITCTL,
        kernel_log: Path = KERNEL_LOG,
        stable_after: float = 10.0,
    ) -> None:
        self._runner = runner
        self._job_directory = job_directory
        self._log_directory = log_directory
        self._initctl = Initctl(runner, initctl)
        self._store = JobStore(job_directory, state_directory)
        self._supervisor = JobSupervisor(self._store, self._initctl, kernel_log, stable_after)
        self._logs: dict[str, OutputFile] = {}

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the manager over the machine's upstart."""
        return cls(context.runner, context.state_directory)

    def check_available(self) -> None:
        """See the contract. The running init must be upstart, and have a directory for jobs."""
        try:
            version = self._initctl.version()
        except ServiceError as error:
            raise DriverUnavailable(f"upstart does not run this machine: {error.details}") from error
        if "upstart" not in version or not version.startswith("init "):
            said = version.partition("\n")[0] or "nothing"
            raise DriverUnavailable(f"upstart does not run this machine: initctl version says {said!r}")
        if not self._job_directory.is_dir():
            raise DriverUnavailable(f"upstart has no directory for jobs: {self._job_directory} is missing")

    def install(self, spec: ServiceSpec) -> None:
        """See the contract."""
        check_spec(spec)
        former = self._store.read(spec.name)
        if self._store.install(spec):
            self._make_known(spec.name, former)
        self._supervisor.add(spec)

    def remove(self, name: str) -> None:
        """See the contract."""
        if self._store.spec(name) is None:
            return
        self.stop(name)
        self._supervisor.forget(name)
        self._store.remove(name)
        self._log(name).remove()
        self._logs.pop(name, None)

    def start(self, name: str) -> None:
        """See the contract."""
        spec = self._store.required(name)
        if self.status(name).state is ServiceState.RUNNING and self._store.is_wanted(name):
            return
        self._supervisor.start()
        job = self._supervisor.add(spec)
        job.is_starting = True
        try:
            self._run(spec, job)
        except ServiceError as error:
            job.last_error = error.details
            self._end(spec)
            raise
        finally:
            job.is_starting = False
            self._supervisor.wake()

    def stop(self, name: str) -> None:
        """See the contract."""
        spec = self._store.spec(name)
        if spec is None:
            return
        self._end(spec)
        job = self._supervisor.get(name)
        if job is not None:
            job.last_error = ""

    def reload(self, name: str) -> None:
        """See the contract.

        The signal is sent from here and not by ``initctl reload``, which does not report whether it was
        delivered; it remains for the operator and does the same.
        """
        spec = self._store.required(name)
        process = self._store.recorded(name)
        if process is None or self.status(name).state is not ServiceState.RUNNING:
            raise ServiceError(f"service {name} does not run, so it cannot be reloaded")
        self._check(spec)
        self._log(name).mark()
        send_reload(spec, process)

    def status(self, name: str) -> ServiceStatus:
        """See the contract."""
        spec = self._store.spec(name)
        if spec is None:
            return ServiceStatus(ServiceState.ABSENT)
        job = self._supervisor.get(name)
        is_starting, error = (job.is_starting, job.last_error) if job else (False, "")
        process = self._store.recorded(name)
        if process is not None and process.is_alive():
            is_ready = not is_starting and (job is None or job.is_ready(process))
            state = ServiceState.RUNNING if is_ready else ServiceState.STARTING
            return ServiceStatus(state, process.pid, process.started_at(), error)
        if is_starting:
            return ServiceStatus(ServiceState.STARTING, last_error=error)
        if not self._store.is_wanted(name):
            return ServiceStatus(ServiceState.STOPPED, last_error=error)
        # Until an end has been noted its reason is not known.
        has_failed = not spec.restart.on_crash and (
            job is None or job.end_noted or not self._supervisor.is_running
        )
        return ServiceStatus(ServiceState.FAILED if has_failed else ServiceState.STARTING, last_error=error)

    def begin_output(self, name: str) -> None:
        """See the contract."""
        if self._store.spec(name) is not None:
            self._log(name).mark()

    def output(self, name: str) -> str:
        """See the contract."""
        log = self._logs.get(name)
        return "" if log is None else log.since_mark()

    def supervise(self) -> None:
        """See the contract. Upstart supervises; files are brought up to date, what it gave up is started."""
        problems = []
        self._store.prepare()
        is_changed = False
        for name in self._store.names():
            try:
                is_changed |= self._resume(name)
            except ServiceError as error:
                problems.append(f"job {name}: {error.details}")
        if is_changed:
            self._reload_configuration()
        self._supervisor.start()
        if problems:
            raise ServiceError("; ".join(problems))

    def close(self) -> None:
        """See the contract."""
        self._supervisor.close()

    def _resume(self, name: str) -> bool:
        """Watch a job; return whether its file had to be written anew."""
        spec = self._store.required(name)
        # Written by another version of the agent it may lack what this one relies on.
        is_changed = self._store.install(spec)
        self._supervisor.add(spec)
        process = self._store.recorded(name)
        if process is not None and process.is_alive() and not self._store.is_wanted(name):
            # The former agent ended while it stopped the service.
            self._initctl.begin_to_stop(name)
        return is_changed

    def _make_known(self, name: str, former: bytes | None) -> None:
        """Have upstart read a new job file, and put the former one back if it does not take it.

        :raises ServiceError: it did not; nothing was changed.
        """
        try:
            self._initctl.reload_configuration()
            if self._initctl.status(name) is None:
                raise ServiceError(f"upstart does not accept the job file of service {name}")
        except ServiceError:
            self._store.put_back(name, former)
            raise

    def _reload_configuration(self) -> None:
        try:
            self._initctl.reload_configuration()
        except ServiceError as error:
            # It watches the files itself; this only makes it read them now.
            LOG.warning("%s", error.details)

    # Starting and ending.

    def _run(self, spec: ServiceSpec, job: WatchedJob) -> None:
        """Check and start a service, and wait until it is ready."""
        deadline = time.monotonic() + spec.start_timeout
        # Beforehand although the job has it too, because only so its output reaches the caller.
        self._check(spec)
        # Something of it may be about to run: a restart that is due, or one by the supervisor.
        self._end(spec)
        while job.is_retried and time.monotonic() < deadline:
            time.sleep(_POLL_INTERVAL)
        log = self._log(spec.name)
        log.mark()
        self._store.set_wanted(spec.name, True)
        try:
            started = self._initctl.start(spec.name, max(0.0, deadline - time.monotonic()))
        except ServiceError as error:
            raise ServiceError(with_output(error.details, log.tail())) from error
        self._supervisor.wake()
        # In another state the process named is not the main one, which has ended already.
        pid = started.pid if started.state == "running" else None
        self._await_ready(spec, job, pid, deadline, log)
        job.note_running(self._store.recorded(spec.name))

    def _await_ready(
        self, spec: ServiceSpec, job: WatchedJob, pid: int | None, deadline: float, log: OutputFile
    ) -> None:
        first = None if pid is None else identify(pid)
        settled_at = min(time.monotonic() + _SETTLING_TIME, deadline)
        while first is not None and first.is_alive():
            process = self._store.recorded(spec.name)
            if process is not None and self._is_ready(spec, job, process, settled_at):
                return
            if time.monotonic() >= deadline:
                raise ServiceError(with_output(f"service {spec.name} was not ready in time", log.tail()))
            time.sleep(_POLL_INTERVAL)
        # At once, so that upstart does not retry while the reason is searched for.
        self._store.set_wanted(spec.name, False)
        how = self._supervisor.how_it_ended(spec.name, pid) or "ended as soon as it was started"
        raise ServiceError(with_output(f"service {spec.name} {how}", log.tail()))

    def _is_ready(
        self, spec: ServiceSpec, job: WatchedJob, process: ProcessIdentity, settled_at: float
    ) -> bool:
        if spec.readiness is Readiness.NOTIFY:
            return job.ready_process == process
        if spec.readiness is Readiness.FORKING:
            return process.is_alive()
        return time.monotonic() >= settled_at

    def _check(self, spec: ServiceSpec) -> None:
        if spec.namespace and not Path("/run/netns", spec.namespace).exists():
            raise ServiceError(f"network namespace {spec.namespace} of service {spec.name} does not exist")
        run_check(spec, self._runner)

    def _end(self, spec: ServiceSpec) -> None:
        """Stop a job for good, and end what it cannot reach."""
        self._store.set_wanted(spec.name, False)
        process = self._store.recorded(spec.name)
        self._initctl.stop(spec.name, spec.stop_timeout)
        require_none_left(spec.name, end_members(self._store.paths(spec.name).mark, process, timeout=0))
        self._store.forget_process(spec.name)
        if spec.pid_file is not None:
            with contextlib.suppress(OSError):
                spec.pid_file.unlink()

    def _log(self, name: str) -> OutputFile:
        return self._logs.setdefault(name, OutputFile(self._log_directory / f"{name}.log"))
