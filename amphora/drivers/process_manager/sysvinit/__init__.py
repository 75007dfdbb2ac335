# SPDX-License-Identifier: Apache-2.0
"""A process manager for machines booted with sysvinit."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.launcher import StartCancelled
from amphora.drivers.process_manager.managed_service import ManagedService
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.records import current_boot_id
from amphora.drivers.process_manager.supervising import SupervisingProcessManager, check_supervision
from amphora.drivers.process_manager.sysvinit.scripts import InitScriptStore
from amphora.errors import Busy, DriverUnavailable, OperationFailed, ServiceError, StorageError
from amphora.models import ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandRunner

LOG = logging.getLogger(__name__)

#: Where init listens for telinit(8): Debian's place, and that of older ones.
_CONTROL_FIFOS = ("run/initctl", "dev/initctl")
_TOOLS = ("update-rc.d", "start-stop-daemon")

#: Seconds that start-stop-daemon may take to print its options.
_PROBE_TIMEOUT = 2.0


class SysvinitProcessManager(SupervisingProcessManager):
    """Writes an init script per service; the machine starts it at boot, the agent watches it.

    sysvinit starts services again after a restart of the machine and never after a crash, so the driver
    supervises them itself while the agent runs. What it starts it starts by ``SCRIPT run``, so that
    the service is the same process in either case, and a child whose exit status is known.

    :param log_directory: for the output of services; absolute and short, as it holds sockets too.
    :param root: directory of the file system.
    :param stable_after: seconds a service must have run for a crash to count as the first in a row.
    """

    condition = "process 1 is sysvinit's init"

    def __init__(
        self,
        log_directory: Path,
        runner: CommandRunner,
        root: Path = Path("/"),
        stable_after: float = 10.0,
    ) -> None:
        self._root = root
        self._scripts = InitScriptStore(root, log_directory, runner, current_boot_id())
        super().__init__(log_directory, self._scripts, runner, stable_after)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the manager over the machine's init scripts."""
        return cls(context.state_directory, context.runner)

    def check_available(self) -> None:
        """See the contract. Needs sysvinit as process 1, and Debian's tools around it."""
        self._check_init()
        for tool in _TOOLS:
            if shutil.which(tool, path=SEARCH_PATH) is None:
                raise DriverUnavailable(
                    f"{tool} is in none of {SEARCH_PATH}; there is no support for chkconfig"
                )
        if not os.access(self._scripts.directory, os.W_OK):
            raise DriverUnavailable(f"init scripts in {self._scripts.directory} cannot be written")
        self._check_readiness_support()
        check_supervision(self._directory)

    def install(self, spec: ServiceSpec) -> None:
        """See the contract. A script that an older version of the agent wrote is replaced."""
        super().install(spec)
        service = self._find(spec.name)
        if service is not None:
            with service.lock:
                self._renew_script(service)

    def reload(self, name: str) -> None:
        """See the contract."""
        service = self._find(name)
        if service is not None:
            with service.lock:
                self._record_started_by_script(service)
        super().reload(name)

    def status(self, name: str) -> ServiceStatus:
        """See the contract. A process that the script has started without the agent counts too."""
        service = self._find(name)
        if service is None or service.is_starting or service.is_alive():
            return super().status(name)
        process = self._scripts.process(name)
        if process is None or not process.is_alive():
            return super().status(name)
        return ServiceStatus(
            ServiceState.RUNNING, process.pid, process.started_at(), service.status().last_error
        )

    def _run(self, service: ManagedService, is_cancelled: Callable[[], bool]) -> None:
        with self._script_at_rest(service, is_cancelled):
            if not self._adopt(service):
                super()._run(service, is_cancelled)

    def _end(self, service: ManagedService, timeout: float) -> None:
        self._record_started_by_script(service)
        super()._end(service, timeout)

    def _after_exit(self, service: ManagedService, pid: int, outcome: str) -> None:
        """Treat the end of a process as a crash, unless the script is restarting the service."""
        # Of a script that is at work for too long the result is not waited for.
        with contextlib.suppress(ServiceError), service.lock:
            is_mine = service.record.process is not None and service.record.process.pid == pid
            if is_mine and service.record.wanted and not service.is_alive():
                with self._script_at_rest(service, service.cancelled.is_set):
                    if self._adopt(service):
                        return
        super()._after_exit(service, pid, outcome)

    def _script_at_rest(
        self, service: ManagedService, is_cancelled: Callable[[], bool]
    ) -> contextlib.AbstractContextManager[None]:
        spec = service.record.spec
        timeout = spec.start_timeout + spec.stop_timeout
        return script_lock(self._scripts.paths(service.name).lock, timeout, is_cancelled)

    def _record_started_by_script(self, service: ManagedService) -> None:
        """Record a main process that the script has started without the agent."""
        process = self._scripts.process(service.name)
        if process is not None and process.is_alive() and not service.is_alive():
            self._save(service, replace(service.record, process=process))

    def _adopt(self, service: ManagedService) -> bool:
        """Adopt a process that the script has started meanwhile; return whether there is one."""
        process = self._scripts.process(service.name)
        handle = None if process is None else ProcessHandle.of(process)
        if handle is None:
            return False
        self._save(service, replace(service.record, wanted=True, process=process))
        service.note_ready()
        self._watcher.watch(service.name, handle)
        return True

    def _resume(self, service: ManagedService) -> None:
        try:
            with service.lock:
                self._renew_script(service)
        except ServiceError as error:
            # The former script still runs the service.
            LOG.error("Service %s: failed to rewrite its init script: %s", service.name, error.details)
        super()._resume(service)

    def _renew_script(self, service: ManagedService) -> None:
        self._save(service, service.record)

    def _mark(self, name: str) -> str:
        return str(self._scripts.paths(name).script)

    def _executed(self, spec: ServiceSpec) -> ServiceSpec:
        # The script enters the namespace and sets the environment itself, as it does at boot.
        argv = (str(self._scripts.paths(spec.name).script), "run")
        return replace(spec, argv=argv, namespace="", environment=MappingProxyType({}))

    def _check_init(self) -> None:
        try:
            name = (self._root / "proc/1/comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            raise DriverUnavailable(f"process 1 of this machine cannot be read: {error.strerror}") from error
        if name != "init":
            raise DriverUnavailable(f"process 1 of this machine is {name}, not sysvinit's init")
        if not any(_is_fifo(self._root / path) for path in _CONTROL_FIFOS):
            raise DriverUnavailable(
                "process 1 of this machine does not listen at /run/initctl as sysvinit does"
            )

    def _check_readiness_support(self) -> None:
        try:
            options = self._runner.run(("start-stop-daemon", "--help"), timeout=_PROBE_TIMEOUT).output
        except OperationFailed as error:
            raise DriverUnavailable(error.details) from error
        if "--notify-await" not in options:
            raise DriverUnavailable("start-stop-daemon is older than 1.19.3 and knows no --notify-await")


@contextlib.contextmanager
def script_lock(path: Path, timeout: float, is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Hold the lock that the agent and the init script of a service share.

    :param is_cancelled: asked repeatedly while another process holds it.
    :raises StartCancelled: it was cancelled.
    :raises ServiceError: the other process held it for too long, or the file cannot be made.
    """

    def stop_if_cancelled() -> None:
        if is_cancelled():
            raise StartCancelled(f"waiting for {path} was cancelled")

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.exclusive_lock(path, timeout, stop_if_cancelled))
        except (Busy, StorageError) as error:
            raise ServiceError(error.details) from error
        yield


def _is_fifo(path: Path) -> bool:
    try:
        return stat.S_ISFIFO(path.stat().st_mode)
    except OSError:
        return False
