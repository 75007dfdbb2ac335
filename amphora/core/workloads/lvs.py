# SPDX-License-Identifier: Apache-2.0
"""The steps that make up a change to the keepalived of an LVS listener; others own their order."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.lvs_files import LvsLayout
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import ProofFailed
from amphora.keepalived.overlay import render_overlay
from amphora.lvs import ipvs_table
from amphora.lvs.check_scripts import UDP_CHECK
from amphora.lvs.configuration import LvsConfiguration
from amphora.lvs.program import LvsProgram
from amphora.models import RestartPolicy, ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files, host
from amphora.system.processes import ProcessIdentity

_LOOK_INTERVAL = 0.02
#: Seconds that keepalived must live on: it reads its configuration only after it has begun.
_SETTLING_TIME = 0.5
#: Permission bits of what others read, and of what only keepalived executes.
CONFIGURATION_MODE, _SCRIPT_MODE = 0o644, 0o100


@dataclass(frozen=True, slots=True)
class LvsSettings:
    """What the engine needs to know of this amphora.

    :ivar apply_timeout: seconds from an action to its proof.
    :ivar restart: what happens when keepalived ends by itself.
    """

    apply_timeout: float
    restart: RestartPolicy = RestartPolicy()


@dataclass(frozen=True, slots=True)
class LvsEvidence:
    """What shows that a configuration runs.

    :ivar checker_pid: of the child that tells the kernel about members; None where there is no service.
    """

    main_pid: int
    checker_pid: int | None
    services: int


class LvsEngine:
    """Checks, runs and proves configurations of one listener at a time. Holds no state of its own.

    :param namespace: where keepalived tells the kernel what to do.
    """

    def __init__(
        self,
        program: LvsProgram,
        services: ProcessManager,
        namespace: DataNamespace,
        settings: LvsSettings,
    ) -> None:
        self._program = program
        self._services = services
        self._namespace = namespace
        self._settings = settings

    def stage(self, layout: LvsLayout, data: bytes) -> None:
        """Write a configuration beside the live one, and what it refers to."""
        files.ensure_directory(layout.directory)
        # Of a check whose script is missing keepalived says nothing, and leaves it out.
        _install(layout.udp_check, UDP_CHECK)
        files.write_atomically(layout.staged, data, CONFIGURATION_MODE)
        _write_overlay(layout.staged_overlay, layout.staged)

    def check(self, layout: LvsLayout) -> str:
        """Let keepalived check what is staged; return its words.

        :raises InvalidConfiguration: keepalived's words.
        """
        self._namespace.ensure()
        names = {str(layout.staged): layout.stored.name, str(layout.staged_overlay): layout.overlay.name}
        return self._program.check(layout.staged_overlay, names)

    def keep_former(self, layout: LvsLayout, data: bytes) -> None:
        """Write what keeping a configuration and going back will need, so that both only rename."""
        _write_overlay(layout.overlay, layout.running)
        files.write_atomically(layout.to_be_proven, data, CONFIGURATION_MODE)
        proven = files.read_if_present(layout.proven)
        if proven is not None:
            for path in (layout.running_back, layout.stored_back):
                files.write_atomically(path, proven, CONFIGURATION_MODE)

    def unstage(self, layout: LvsLayout) -> None:
        """Forget everything that is there only while a change is under way. Safe to repeat."""
        for path in layout.transient:
            files.remove(path)

    def swap(self, layout: LvsLayout) -> None:
        """Make the staged file the one that the service runs from."""
        files.rename(layout.staged, layout.running)

    def keep(self, layout: LvsLayout) -> None:
        """Make what runs now what :meth:`restore_files` goes back to from now on."""
        files.rename(layout.to_be_proven, layout.proven)
        self.unstage(layout)

    def restore_files(self, layout: LvsLayout) -> bool:
        """Make the proven configuration the one that the service runs from; return whether there is one."""
        proven = files.read_if_present(layout.proven)
        if proven is None:
            files.remove(layout.running)
            return False
        if layout.running_back.exists():
            files.rename(layout.running_back, layout.running)
        elif proven != files.read_if_present(layout.running):
            files.write_atomically(layout.running, proven, CONFIGURATION_MODE)
        return True

    def start(self, layout: LvsLayout) -> None:
        """Start the service anew from what was swapped in.

        :raises ServiceError: it could not be started, or its former processes not be ended.
        """
        # After a crash it may be started again over the former file at this very moment.
        self._services.stop(layout.service_name)
        layout.processes.remove_stale_pid_files()
        # The namespace may be younger than the last boot, or the kernel's IPVS than the namespace.
        self._namespace.prepare()
        self._services.install(self._spec(layout))
        self._services.start(layout.service_name)

    def prove(self, layout: LvsLayout, configuration: LvsConfiguration) -> LvsEvidence:
        """Return once keepalived, and the child that it needs, can be seen to run and to go on running.

        :raises ProofFailed: it ended, or could not be seen in time; with its own last words.
        """
        deadline = time.monotonic() + self._settings.apply_timeout
        first = self.status(layout)
        seen: tuple[ProcessIdentity, ProcessIdentity | None] | None = None
        since = time.monotonic()
        while True:
            now, status = time.monotonic(), self.status(layout)
            if status.state is not ServiceState.RUNNING or status.pid != first.pid:
                # It may already run again, to end again.
                raise ProofFailed(f"keepalived has ended: {status.last_error or 'it said nothing'}")
            found = _processes(layout, configuration)
            if found != seen:
                seen, since = found, now
            if seen is not None and now - since >= _SETTLING_TIME:
                return LvsEvidence(seen[0].pid, seen[1].pid if seen[1] else None, len(configuration.services))
            if now >= deadline:
                raise ProofFailed("keepalived could not be seen to run in time, and to have found IPVS")
            time.sleep(_LOOK_INTERVAL)

    def stop(self, layout: LvsLayout) -> None:
        """End the service and its virtual services; it stays installed.

        :raises ServiceError: a process survived.
        """
        self._services.stop(layout.service_name)
        layout.processes.remove_stale_pid_files()

    def remove(self, layout: LvsLayout) -> None:
        """End the service and forget it, with whatever is left of its pid files.

        :raises ServiceError: a process survived, or its definition could not be removed.
        """
        self._services.remove(layout.service_name)
        layout.processes.remove_pid_files()

    def status(self, layout: LvsLayout) -> ServiceStatus:
        """Return what the service is doing now. Never forks, never waits for a change."""
        return self._services.status(layout.service_name)

    def _spec(self, layout: LvsLayout) -> ServiceSpec:
        return ServiceSpec(
            name=layout.service_name,
            description=f"keepalived of LVS listener {layout.listener_id}",
            # No check before a start: keepalived's exit status does not tell remarks from errors.
            argv=self._program.service_argv(layout.overlay, layout.pid_files),
            pid_file=layout.pid_files.main,
            namespace=self._namespace.name,
            restart=self._settings.restart,
            start_timeout=self._settings.apply_timeout,
        )


def _processes(
    layout: LvsLayout, configuration: LvsConfiguration
) -> tuple[ProcessIdentity, ProcessIdentity | None] | None:
    """Return the main process and the one that checks members; None while what it needs is not there."""
    main, checker = layout.processes.main(), layout.processes.checker()
    # Without a virtual service keepalived has nothing to check, and starts no child.
    if main is None or (checker is None and configuration.services):
        return None
    has_members = configuration.pool is not None and configuration.pool.enabled_members
    # Where the kernel has no IPVS it ends, but on a busy machine not at once.
    return None if has_members and not ipvs_table.is_available(str(main.pid)) else (main, checker)


def _write_overlay(overlay: Path, included: Path) -> None:
    files.write_atomically(overlay, render_overlay(included, host.hostname()), CONFIGURATION_MODE)


def _install(script: Path, content: bytes) -> None:
    if files.mode_of(script) != _SCRIPT_MODE or files.read_if_present(script) != content:
        files.ensure_directory(script.parent)
        files.write_atomically(script, content, _SCRIPT_MODE)
