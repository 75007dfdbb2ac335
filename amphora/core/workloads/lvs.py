# SPDX-License-Identifier: Apache-2.0
"""LVS listeners: those for UDP and SCTP, each served by a keepalived of its own and by the kernel."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.service_changes import RELOAD, START
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.changes import Activation
from amphora.core.workloads.lvs_files import LvsDirectory, LvsFiles
from amphora.core.workloads.workload import DeletableWorkload, WorkloadContext
from amphora.errors import AmphoraError, LvsActionFailed, LvsListenerNotFound, OperationFailed, ProofFailed
from amphora.keepalived.overlay import render_overlay
from amphora.keepalived.program import LvsProgram
from amphora.lvs import ipvs_table
from amphora.lvs.check_scripts import UDP_CHECK
from amphora.lvs.configuration import LvsConfiguration, parse
from amphora.lvs.ipvs_table import VirtualService
from amphora.models import IPAddress, Proof, RestartPolicy, ServiceSpec, ServiceState
from amphora.system import files, host
from amphora.system.processes import ProcessIdentity

_LOOK_INTERVAL = 0.02
#: Seconds that keepalived must live on: it reads its configuration only after it has begun.
_SETTLING_TIME = 0.5
#: Permission bits of what only keepalived executes.
_SCRIPT_MODE = 0o100


@dataclass(frozen=True, slots=True)
class LvsSettings:
    """What listeners need to know of this amphora.

    :ivar apply_timeout: seconds from an action to its proof.
    :ivar restart: what happens when keepalived ends by itself.
    """

    apply_timeout: float
    restart: RestartPolicy = RestartPolicy()


class LvsWorkload(DeletableWorkload[LvsConfiguration, None]):
    """One listener. A reload ends keepalived and starts it anew.

    :param namespace: where keepalived configures IPVS.
    """

    program_name: ClassVar[str] = "keepalived"
    reloaded_back: ClassVar[str] = "was started again"
    ends_over_reload: ClassVar[bool] = True
    files: LvsFiles

    def __init__(
        self,
        own_files: LvsFiles,
        context: WorkloadContext,
        program: LvsProgram,
        namespace: DataNamespace,
        settings: LvsSettings,
    ) -> None:
        super().__init__(own_files, context)
        self._program = program
        self._namespace = namespace
        self._settings = settings

    def upload(self, data: bytes, expected: Expected = ANYTHING) -> str:
        """Check and store a configuration. What runs is not touched. Safe to repeat.

        :returns: keepalived's output.
        :raises InvalidConfiguration: keepalived's output; the former configuration stays.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises OperationFailed: it could not be checked or stored.
        """
        output = self._store(data, expected)
        # The first listener of a node needs what others prepare for it.
        self._context.changed()
        return output

    def stage(self, data: bytes) -> LvsConfiguration:
        """Write a configuration beside the live one, and the script that it may name."""
        # Of a check whose script is missing keepalived says nothing, and leaves it out.
        _install(self.files.udp_check, UDP_CHECK)
        return super().stage(data)

    def stage_upload(self, data: bytes) -> LvsConfiguration:
        """Stage a configuration to store; keep what another agent has left running as proven."""
        own, configuration = self.files, super().stage_upload(data)
        stored = files.read_if_present(own.stored)
        if stored is not None and not own.proven.exists() and own.processes.main() is not None:
            # Before its only file is replaced.
            own.write(own.proven, stored)
        return configuration

    def check(self, configuration: LvsConfiguration) -> str:
        """Let keepalived check what is staged, and return its output.

        :raises InvalidConfiguration: that output.
        """
        self._namespace.ensure()
        own = self.files
        names = {str(own.staged): own.stored.name, str(own.staged_overlay): own.overlay.name}
        return self._program.check(own.staged_overlay, names)

    def preflight(self, configuration: LvsConfiguration, kind: str) -> None:
        """Refuse a service that another listener serves already; the kernel has each service once."""
        taken = self._served_by_others()
        for service in configuration.services:
            if service in taken:
                raise OperationFailed(f"{service} is served by listener {taken[service]} already")

    def before_reload(self, configuration: LvsConfiguration, *, is_rollback: bool = False) -> None:
        """Nothing that runs is reloaded."""

    def prove(self, configuration: LvsConfiguration, before: None) -> Proof:
        """Wait until keepalived, and the child that it needs, are seen to run and to go on running.

        :raises ProofFailed: it ended, or could not be seen in time; with its own last output.
        """
        deadline = time.monotonic() + self._settings.apply_timeout
        first = self.status()
        seen: tuple[ProcessIdentity, ProcessIdentity | None] | None = None
        since = time.monotonic()
        while True:
            now, status = time.monotonic(), self.status()
            if status.state is not ServiceState.RUNNING or status.pid != first.pid:
                # It may already run again, to end again.
                raise ProofFailed(f"keepalived has ended: {status.last_error or 'it said nothing'}")
            found = self._find_processes(configuration)
            if found != seen:
                seen, since = found, now
            if seen is not None and now - since >= _SETTLING_TIME:
                return _proof(seen[0].pid, seen[1].pid if seen[1] else None, configuration)
            if now >= deadline:
                raise ProofFailed("timed out waiting for keepalived to start and register with IPVS")
            time.sleep(_LOOK_INTERVAL)

    def end(self) -> None:
        """End the service and its virtual services; it stays installed.

        :raises ServiceError: a process survived.
        """
        super().end()
        self.files.processes.remove_stale_pid_files()

    def _served_by_others(self) -> Mapping[VirtualService, str]:
        others = (own for own in LvsDirectory(self.files.base_path).all() if own.id != self.id)
        return {
            service: own.id
            for own in others
            if not self._services.status(own.service_name).state.is_at_rest
            for service in parse(files.read_if_present(own.running) or b"").services
        }

    def _find_processes(
        self, configuration: LvsConfiguration
    ) -> tuple[ProcessIdentity, ProcessIdentity | None] | None:
        """Return the main process and the one that checks members; None while what it needs is not there."""
        main, checker = self.files.processes.main(), self.files.processes.checker()
        # Without a virtual service keepalived has nothing to check, and starts no child.
        if main is None or (checker is None and configuration.services):
            return None
        has_members = configuration.pool is not None and configuration.pool.enabled_members
        # Where the kernel has no IPVS it ends, but on a busy machine not at once.
        return None if has_members and not ipvs_table.is_available(str(main.pid)) else (main, checker)

    def _prepare_start(self, configuration: LvsConfiguration) -> None:
        self.files.processes.remove_stale_pid_files()
        # The namespace may be younger than the last boot, or the kernel's IPVS than the namespace.
        self._namespace.prepare()

    def _is_at_rest(self) -> bool:
        # Another agent's keepalived is no service of ours.
        return super()._is_at_rest() and self.files.processes.main() is None

    def _is_stopped(self) -> bool:
        return self._is_at_rest() and not self.files.pid_file.exists()

    def _kind(self, action: str, state: ServiceState) -> str:
        # One that should run will run again with what was proven, if this configuration fails.
        return START if state.is_at_rest else RELOAD

    def _before_recovery(self) -> None:
        # A service that starts by itself, as after a reboot, would be refused because of them.
        self.files.processes.remove_stale_pid_files()

    def _settle_untouched(self, interrupted: Operation) -> tuple[OperationState, str]:
        return OperationState.UNDONE, Activation(self, interrupted.kind).discard()

    def _finish_upload(self) -> bool:
        # What was staged became what is stored in one instant.
        return not self.files.staged.exists()

    def _remove_service(self) -> None:
        super()._remove_service()
        self.files.processes.remove_pid_files()

    def _remove_files(self) -> None:
        # The stored file last: it is what a delete that was cut off is found by.
        files.remove_tree(self.files.directory)
        files.remove(self.files.stored)

    def _addresses(self, configuration: LvsConfiguration) -> Iterable[IPAddress]:
        return configuration.addresses

    def _not_found(self) -> LvsListenerNotFound:
        return LvsListenerNotFound(self.id)

    def _failed(self, action: str, error: AmphoraError) -> LvsActionFailed:
        return LvsActionFailed("restart" if action == RELOAD else action, self.id, error.details)

    def _read(self, data: bytes) -> LvsConfiguration:
        return parse(data)

    def _check_overlay(self, configuration: LvsConfiguration) -> bytes:
        return render_overlay(self.files.staged, host.hostname())

    def _overlay(self, configuration: LvsConfiguration) -> bytes:
        return render_overlay(self.files.running, host.hostname())

    def _spec(self) -> ServiceSpec:
        own = self.files
        return ServiceSpec(
            name=own.service_name,
            description=f"keepalived of LVS listener {self.id}",
            # No check before a start: keepalived's exit status is the same for remarks and for errors.
            argv=self._program.service_argv(own.overlay, own.pid_files),
            pid_file=own.pid_file,
            namespace=self._namespace.name,
            restart=self._settings.restart,
            start_timeout=self._settings.apply_timeout,
        )


def _proof(main_pid: int, checker_pid: int | None, configuration: LvsConfiguration) -> Proof:
    child = f", checks members in pid {checker_pid}" if checker_pid else ""
    count = len(configuration.services)
    return Proof(main_pid, f"keepalived runs in pid {main_pid}{child}, for {count} virtual services")


def _install(script: Path, content: bytes) -> None:
    if files.mode_of(script) != _SCRIPT_MODE or files.read_if_present(script) != content:
        files.ensure_directory(script.parent)
        files.write_atomically(script, content, _SCRIPT_MODE)
