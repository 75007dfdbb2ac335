# SPDX-License-Identifier: Apache-2.0
"""Supervision of services by the agent itself, for machines on which no init system does it."""

from __future__ import annotations

import abc
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from amphora.drivers.process_manager.base import ProcessManager
from amphora.drivers.process_manager.launcher import Launch, StartCancelled, notify_path
from amphora.drivers.process_manager.managed_service import ManagedService, Watcher
from amphora.drivers.process_manager.members import end_members, find_members, session_leader
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.records import ServiceRecord, ServiceStore
from amphora.drivers.process_manager.service_errors import (
    require_none_left,
    run_check,
    send_reload,
    with_output,
)
from amphora.drivers.process_manager.service_log import ServiceLog
from amphora.drivers.process_manager.specs import check_spec, is_service_name
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import ServiceSpec, ServiceState, ServiceStatus
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

#: Bytes of the directory's path that leave room for the name of a notify socket (unix(7)).
_LONGEST_PATH = 90


class SupervisingProcessManager(ProcessManager):
    """Starts services as processes of their own, watches them and starts them again.

    Each service leads a session of its own and writes to a file, so it survives the agent; the next
    agent finds it again by the recorded id and start time of its main process, or by a mark in its
    environment. One thread watches all main processes; each service that is being started again has a
    short-lived thread, so that a slow check or start of one never delays another.

    A driver adds where records are kept, how a process is marked, and what is executed.

    :param directory: of logs and notify sockets; absolute and short.
    :param store: of what must be known again after a restart of the agent or the machine.
    :param stable_after: seconds a service must have run for a crash to count as the first in a row.
    """

    def __init__(
        self, directory: Path, store: ServiceStore, runner: CommandRunner, stable_after: float
    ) -> None:
        self._directory = directory
        self._runner = runner
        self._stable_after = stable_after
        self._store = store
        self._services: dict[str, ManagedService] = {}
        self._registry_lock = threading.Lock()
        self._background: set[threading.Thread] = set()
        self._closing = False
        self._watcher = Watcher(self._on_exit, self._bound_logs)

    @abc.abstractmethod
    def _mark(self, name: str) -> str:
        """Return what marks the processes of a service, unique on this machine."""

    def _executed(self, spec: ServiceSpec) -> ServiceSpec:
        """Return the spec whose command is executed to run a service; the same id must stay its main one."""
        return spec

    def install(self, spec: ServiceSpec) -> None:
        """See the contract."""
        check_spec(spec)
        service = self._find(spec.name)
        if service is None:
            self._store.save(record := ServiceRecord(spec))
            with self._registry_lock:
                self._services[spec.name] = self._managed(record)
            return
        with service.lock:
            if service.record.spec != spec:
                self._save(service, replace(service.record, spec=spec))

    def remove(self, name: str) -> None:
        """See the contract."""
        service = self._find(name)
        if service is None:
            return
        self.stop(name)
        with service.lock, self._registry_lock:
            service.log.remove()
            # Left by an agent that ended during a start.
            notify_path(self._directory, name).unlink(missing_ok=True)
            self._store.delete(name)
            service.removed = True
            self._services.pop(name, None)

    def start(self, name: str) -> None:
        """See the contract."""
        service = self._required(name)
        with service.lock:
            if service.record.wanted and service.is_alive():
                return
            service.log.mark()
            try:
                self._run(service, service.cancelled.is_set)
            except ServiceError as error:
                service.last_error = error.details
                self._end(service, timeout=0)
                raise

    def stop(self, name: str) -> None:
        """See the contract."""
        service = self._find(name)
        if service is None:
            return
        service.cancelled.set()
        with service.lock:
            service.cancelled.clear()
            service.last_error = ""
            self._end(service, service.record.spec.stop_timeout)

    def reload(self, name: str) -> None:
        """See the contract."""
        service = self._required(name)
        with service.lock:
            if service.status().state is not ServiceState.RUNNING:
                raise ServiceError(f"service {name} does not run, so it cannot be reloaded")
            spec = service.record.spec
            run_check(spec, self._runner)
            service.log.mark()
            send_reload(spec, service.record.process)

    def status(self, name: str) -> ServiceStatus:
        """See the contract."""
        service = self._find(name)
        return ServiceStatus(ServiceState.ABSENT) if service is None else service.status()

    def begin_output(self, name: str) -> None:
        """See the contract."""
        service = self._find(name)
        if service is not None:
            service.log.mark()

    def output(self, name: str) -> str:
        """See the contract."""
        service = self._find(name)
        return "" if service is None else service.log.since_mark()

    def supervise(self) -> None:
        """See the contract. Damaged records are reported after all others have been resumed."""
        problems = []
        self._store.sweep()
        for name in self._store.names():
            try:
                service = self._find(name)
            except ServiceError as error:
                problems.append(error.details)
                continue
            if service is not None:
                self._resume(service)
        self._watcher.start()
        if problems:
            raise ServiceError("; ".join(problems))

    def close(self) -> None:
        """See the contract."""
        self._closing = True
        with self._registry_lock:
            services, threads = list(self._services.values()), list(self._background)
        for service in services:
            service.cancelled.set()
        for thread in threads:
            thread.join()
        self._watcher.close()

    # Starting and ending; the caller holds the service's lock.

    def _run(self, service: ManagedService, is_cancelled: Callable[[], bool]) -> None:
        """Check and start a service, and watch it once it is ready."""
        spec = service.record.spec
        deadline = time.monotonic() + spec.start_timeout
        service.is_starting = True
        try:
            run_check(spec, self._runner)
            self._end_processes(service, timeout=0)
            # Written before the process is born: one without a record is then known to be wanted.
            self._save(service, replace(service.record, wanted=True, process=None))
            launch = Launch(
                self._executed(spec),
                self._mark(spec.name),
                self._directory,
                service.log,
                deadline,
                lambda handle: self._record_process(service, handle),
                is_cancelled,
            )
            handle = launch.run()
            self._record_process(service, handle)
        finally:
            service.is_starting = False
        service.note_ready()
        self._watcher.watch(spec.name, handle)

    def _end(self, service: ManagedService, timeout: float) -> None:
        """End all processes and count the service as stopped."""
        self._watcher.forget(service.name)
        # Written first: if the agent dies in between, the next one ends what is left.
        if service.record.wanted:
            self._save(service, replace(service.record, wanted=False))
        self._end_processes(service, timeout)
        if service.record.process is not None:
            self._save(service, replace(service.record, process=None))
        if service.record.spec.pid_file is not None:
            with contextlib.suppress(OSError):
                service.record.spec.pid_file.unlink()

    def _end_processes(self, service: ManagedService, timeout: float) -> None:
        survivors = end_members(self._mark(service.name), service.record.process, timeout)
        require_none_left(service.name, survivors)

    # Crashes and the agent's own restart.

    def _resume(self, service: ManagedService) -> None:
        """Adopt what runs; start or stop the rest in the background."""
        with service.lock:
            mark, record = self._mark(service.name), service.record
            main = record.process if service.is_alive() else None
            if record.wanted and record.process is None:
                # The former agent may have died between the birth of the process and its record.
                main = session_leader(find_members(mark, None))
            handle = None if main is None else ProcessHandle.of(main)
            if handle is not None and record.wanted:
                self._record_process(service, handle)
                service.note_ready()
                self._watcher.watch(service.name, handle)
                return
            if handle is not None:
                handle.close()
        if not record.wanted:
            self._in_background(lambda: self._finish_stop(service))
        elif record.process is None or record.spec.restart.on_crash:
            self._in_background(lambda: self._restart(service))

    def _finish_stop(self, service: ManagedService) -> None:
        with service.lock:
            if not service.record.wanted and not service.removed:
                self._end(service, service.record.spec.stop_timeout)

    def _on_exit(self, name: str, pid: int, outcome: str) -> None:
        service = self._services.get(name)
        if service is not None:
            self._in_background(lambda: self._after_exit(service, pid, outcome))

    def _after_exit(self, service: ManagedService, pid: int, outcome: str) -> None:
        with service.lock:
            process = service.record.process
            if not service.record.wanted or process is None or process.pid != pid or service.is_alive():
                return
            service.note_crash()
            service.last_error = with_output(f"process {pid} {outcome}", service.log.tail())
            LOG.warning("Service %s: %s", service.name, service.last_error)
            self._end_processes(service, timeout=0)
            if not service.record.spec.restart.on_crash:
                return
        self._restart(service)

    def _restart(self, service: ManagedService) -> None:
        """Start a wanted service, and retry until it runs or is stopped."""
        while not service.cancelled.wait(service.restart_delay()):
            with service.lock:
                if self._closing or service.removed or not service.record.wanted or service.is_alive():
                    return
                try:
                    self._run(service, service.cancelled.is_set)
                except StartCancelled:
                    return
                except ServiceError as error:
                    self._after_failed_restart(service, error)
                    if not service.record.spec.restart.on_crash:
                        return
                else:
                    LOG.info("Service %s: restarted", service.name)
                    return

    def _after_failed_restart(self, service: ManagedService, error: ServiceError) -> None:
        service.last_error = error.details
        service.note_crash()
        LOG.warning("Service %s: restart failed: %s", service.name, error.details)
        try:
            self._end_processes(service, timeout=0)
        except ServiceError as survivors:
            LOG.error("%s", survivors.details)

    def _in_background(self, task: Callable[[], None]) -> None:
        def run() -> None:
            try:
                task()
            except Exception:
                LOG.exception("Supervision of a service failed unexpectedly")
            finally:
                with self._registry_lock:
                    self._background.discard(thread)

        thread = threading.Thread(target=run, name="service-start", daemon=True)
        with self._registry_lock:
            if self._closing:
                return
            self._background.add(thread)
            # Within the lock: close() joins what is in there, and only a started thread can be joined.
            thread.start()

    # Records.

    def _find(self, name: str) -> ManagedService | None:
        with self._registry_lock:
            service = self._services.get(name)
            if service is None and (record := self._load(name)) is not None:
                service = self._services[name] = self._managed(record)
            return service

    def _required(self, name: str) -> ManagedService:
        service = self._find(name)
        if service is None:
            raise ServiceError(f"service {name} is not installed")
        return service

    def _load(self, name: str) -> ServiceRecord | None:
        return self._store.load(name) if is_service_name(name) else None

    def _managed(self, record: ServiceRecord) -> ManagedService:
        log = ServiceLog(self._directory / f"{record.spec.name}.log")
        return ManagedService(record, log, self._stable_after)

    def _save(self, service: ManagedService, record: ServiceRecord) -> None:
        self._store.save(record)
        service.record = record

    def _record_process(self, service: ManagedService, handle: ProcessHandle) -> None:
        identity = handle.identity()
        if identity is not None and identity != service.record.process:
            self._save(service, replace(service.record, process=identity))

    def _bound_logs(self) -> None:
        for service in list(self._services.values()):
            service.log.bound()


def check_supervision(directory: Path) -> None:
    """Return if services can be supervised here with logs and notify sockets in a directory.

    :raises DriverUnavailable: the path is unsuitable, or the kernel is older than Linux 5.3 and
        lacks pidfd_open(2).
    """
    if len(os.fsencode(directory)) > _LONGEST_PATH or not directory.is_absolute():
        raise DriverUnavailable(
            f"{directory} cannot hold state: not an absolute path of {_LONGEST_PATH} bytes at most"
        )
    try:
        ProcessHandle(os.getpid()).close()
    except (AttributeError, OSError) as error:
        raise DriverUnavailable(f"{sys.platform} offers no process descriptors: {error}") from error
