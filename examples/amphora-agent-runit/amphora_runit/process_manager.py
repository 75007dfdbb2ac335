# SPDX-License-Identifier: Apache-2.0
"""A process manager that leaves the work to runit (runsvdir(8), runsv(8))."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.base import ProcessManager
from amphora.drivers.process_manager.launcher import notify_path
from amphora.drivers.process_manager.members import end_members
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.specs import check_spec, is_service_name
from amphora.errors import DriverUnavailable, OperationFailed, ServiceError
from amphora.models import ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandRunner
from amphora.system.processes import ProcessIdentity, identify

from amphora_runit.run import check
from amphora_runit.service_directory import ServiceDirectory, storage_errors
from amphora_runit.supervision import Phase, Supervision, is_watched

#: Where Debian's runsvdir looks for services, unless sv(8)'s variable SVDIR names another directory.
SERVICE_DIRECTORY = Path("/etc/service")

#: Seconds until runsvdir has seen a new service: it looks every five, and may sleep for another.
_TAKE_UP_TIME = 15.0
#: Seconds beyond the service's own time limits: runsv may sleep for one before it obeys, finish takes some.
_MARGIN = 5.0
_LOOK_INTERVAL = 0.02


class RunitProcessManager(ProcessManager):
    """Keeps a directory for each service and links it where a runsvdir looks.

    A service runs as long as its runsv wants it to, with or without an agent; nothing is held in memory
    here. runsvdir takes up a service within about five seconds of its first :meth:`install`, and
    runsv starts nothing twice within a second; both are runit's own pace.

    :param directory: holds the services' own directories; must survive a machine restart.
    :param service_directory: the one that a runsvdir watches.
    """

    def __init__(self, directory: Path, runner: CommandRunner, service_directory: Path) -> None:
        self._directory = directory
        self._runner = runner
        self._links = service_directory
        # Bytes of each service's output that were there when it was last started or reloaded.
        self._passed: dict[str, int] = {}

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the manager over its own directory of state and the machine's runsvdir."""
        links = Path(os.environ.get("SVDIR", SERVICE_DIRECTORY))
        return cls(context.state_directory, context.runner, links)

    def check_available(self) -> None:
        """See the contract. A runsvdir must be at work."""
        if shutil.which("runsv", path=SEARCH_PATH) is None:
            raise DriverUnavailable(f"runsv is in none of {SEARCH_PATH}")
        if not is_watched(self._links):
            raise DriverUnavailable(f"no runsvdir watches {self._links}")

    def install(self, spec: ServiceSpec) -> None:
        """See the contract. Returns once a runsv has taken the service up."""
        check_spec(spec)
        service = self._service(spec.name)
        is_new = service.spec() is None
        if not self._is_ours(self._links / spec.name):
            raise ServiceError(f"{self._links / spec.name} exists and was not made by amphora-agent")
        try:
            service.write(spec)
            self._link(spec.name)
            self._await_supervision(spec.name)
        except ServiceError:
            if is_new:
                self._forget(spec.name)
            raise

    def remove(self, name: str) -> None:
        """See the contract."""
        if self._spec(name) is not None:
            self.stop(name)
            self._forget(name)
            self._passed.pop(name, None)

    def start(self, name: str) -> None:
        """See the contract."""
        spec, service, supervision = self._required(name), self._service(name), self._supervision(name)
        if service.is_wanted() and self.status(name).state is ServiceState.RUNNING:
            return
        self._await_supervision(name)
        if supervision.look().phase is not Phase.DOWN:
            self._end(name, patience=0)
        service.forget_ends()
        self._passed[name] = 0
        try:
            # Once: a service that fails its first start must not be tried again.
            supervision.tell("o")
            self._await_ready(name, spec.start_timeout + _MARGIN)
            service.want(True)
            supervision.tell("u")
        except ServiceError:
            self._end(name, patience=0)
            raise

    def stop(self, name: str) -> None:
        """See the contract."""
        spec = self._spec(name)
        if spec is not None:
            self._end(name, spec.stop_timeout)
            self._service(name).forget_ends()

    def reload(self, name: str) -> None:
        """See the contract."""
        spec = self._required(name)
        if self.status(name).state is not ServiceState.RUNNING:
            raise ServiceError(f"service {name} does not run, so it cannot be reloaded")
        self._check(spec)
        main = self._main_process(name)
        handle = None if main is None else ProcessHandle.of(main)
        if handle is None:
            raise ServiceError(f"service {name} ended before it could be reloaded")
        self.begin_output(name)
        with handle:
            handle.send(spec.reload_signal)

    def status(self, name: str) -> ServiceStatus:
        """See the contract."""
        spec = self._spec(name)
        if spec is None:
            return ServiceStatus(ServiceState.ABSENT)
        service, phase = self._service(name), self._supervision(name).look().phase
        main = self._main_process(name)
        if main is not None:
            return ServiceStatus(ServiceState.RUNNING, main.pid, main.started_at(), service.last_error())
        if phase is Phase.RUN:
            state = ServiceState.STARTING
        elif not service.is_wanted():
            state = ServiceState.STOPPED
        elif phase is Phase.UNSUPERVISED or (phase is Phase.DOWN and not spec.restart.on_crash):
            state = ServiceState.FAILED
        else:
            state = ServiceState.STARTING
        return ServiceStatus(state, last_error=service.last_error())

    def begin_output(self, name: str) -> None:
        """See the contract."""
        if self._spec(name) is not None:
            self._passed[name] = self._service(name).output_size()

    def output(self, name: str) -> str:
        """See the contract."""
        passed = self._passed.get(name)
        return "" if passed is None else self._service(name).tail(passed)

    def supervise(self) -> None:
        """See the contract. runit went on meanwhile; only what it had to leave down is started."""
        with storage_errors():
            files.sweep_temporaries(self._directory)
            names = files.subdirectories(self._directory)
        problems = []
        for name in names:
            try:
                self._take_up(name)
            except ServiceError as error:
                problems.append(error.details)
        if problems:
            raise ServiceError("; ".join(problems))

    def close(self) -> None:
        """See the contract. Nothing is held."""

    def _take_up(self, name: str) -> None:
        service, supervision = self._service(name), self._supervision(name)
        spec = service.spec()
        if spec is None:
            # An agent ended while it installed or removed this one.
            self._forget(name)
            return
        # An upgrade of the agent may have brought other programs, or moved Python.
        service.write(spec)
        self._link(name)
        if service.is_wanted() and spec.restart.on_crash and supervision.look().phase is Phase.DOWN:
            supervision.tell("u")

    def _await_ready(self, name: str, seconds: float) -> None:
        service = self._service(name)

        def is_decided() -> bool:
            return self._main_process(name) is not None or self._has_ended(name)

        if not _holds_within(seconds, is_decided):
            raise ServiceError(f"service {name} was not ready within {seconds:g} s: {service.tail()}")
        if self._main_process(name) is None:
            raise ServiceError(f"service {name} did not start: {service.last_error()}")

    def _has_ended(self, name: str) -> bool:
        """Whether a run that began without a trace of former ones is over, ``finish`` included."""
        is_down = self._supervision(name).look().phase is Phase.DOWN
        return is_down and self._service(name).last_error() != ""

    def _end(self, name: str, patience: float) -> None:
        """End all processes and count the service as stopped."""
        service, supervision = self._service(name), self._supervision(name)
        # Written first: should the agent end in between, no boot starts it again.
        service.want(False)
        if supervision.is_there():
            # d: TERM, and no new start. k: KILL.
            supervision.tell("d")
            if not _holds_within(patience, lambda: _is_over(supervision)):
                supervision.tell("k")
            _holds_within(_MARGIN, lambda: _is_over(supervision))
        survivors = end_members(str(service.path), None, 0)
        if survivors:
            ids = ", ".join(str(survivor.pid) for survivor in survivors)
            raise ServiceError(f"processes of service {name} survived SIGKILL: {ids}")

    def _forget(self, name: str) -> None:
        """Take a service that does not run from runit and remove what is stored of it."""
        supervision = self._supervision(name)
        with storage_errors():
            # First, or runsvdir would start another runsv.
            files.remove(self._links / name)
            if supervision.is_there():
                supervision.tell("x")
                _holds_within(_MARGIN, lambda: not supervision.is_there())
            files.remove(notify_path(self._directory, name))
        self._service(name).remove()

    def _check(self, spec: ServiceSpec) -> None:
        try:
            check(spec, self._runner)
        except OperationFailed as error:
            raise ServiceError(error.details) from error

    def _main_process(self, name: str) -> ProcessIdentity | None:
        """Return the main process of a service that is ready, and only while it lives."""
        pid = self._supervision(name).look().pid
        runner = None if pid is None else identify(pid)
        return None if runner is None else self._service(name).ready_main(runner)

    def _link(self, name: str) -> None:
        """Show a service to runsvdir. Safe to repeat."""
        link, target = self._links / name, self._directory / name
        if not link.is_symlink():
            try:
                link.symlink_to(target)
            except OSError as error:
                raise ServiceError(f"{link} could not be made: {error.strerror}") from error

    def _is_ours(self, link: Path) -> bool:
        """Whether no other program has put a service of this name before runsvdir."""
        if link.is_symlink():
            return link.readlink() == self._directory / link.name
        return not link.exists()

    def _await_supervision(self, name: str) -> None:
        if not _holds_within(_TAKE_UP_TIME, self._supervision(name).is_there):
            raise ServiceError(f"runsvdir did not take service {name} up from {self._links}")

    def _required(self, name: str) -> ServiceSpec:
        spec = self._spec(name)
        if spec is None:
            raise ServiceError(f"service {name} is not installed")
        return spec

    def _spec(self, name: str) -> ServiceSpec | None:
        return self._service(name).spec() if is_service_name(name) else None

    def _service(self, name: str) -> ServiceDirectory:
        return ServiceDirectory(self._directory / name)

    def _supervision(self, name: str) -> Supervision:
        return Supervision(self._directory / name)


def _is_over(supervision: Supervision) -> bool:
    return supervision.look().phase in (Phase.DOWN, Phase.UNSUPERVISED)


def _holds_within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Return whether a condition came to hold within so many seconds; it is asked once at least."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_INTERVAL)
    return True
