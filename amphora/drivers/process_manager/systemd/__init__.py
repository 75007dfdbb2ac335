# SPDX-License-Identifier: Apache-2.0
"""A process manager that leaves the work to systemd."""

from __future__ import annotations

import contextlib
import logging
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.base import ProcessManager
from amphora.drivers.process_manager.notify_socket import tells_of_failure
from amphora.drivers.process_manager.service_errors import as_service_error, run_check, send_reload
from amphora.drivers.process_manager.service_log import OUTPUT_SIZE, last_lines
from amphora.drivers.process_manager.specs import SpecFiles, check_spec
from amphora.drivers.process_manager.systemd.bus import SystemdBus, UnitState, describe_end, service_state
from amphora.drivers.process_manager.systemd.units import (
    NAMESPACE_HEADER,
    NAMESPACE_UNIT,
    UNIT,
    render_namespace_unit,
    render_unit,
)
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import Readiness, ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandResult, CommandRunner
from amphora.system.processes import ProcessIdentity, identify

LOG = logging.getLogger(__name__)

#: Where the administrator's units live (systemd.unit(5)).
UNIT_DIRECTORY = Path("/etc/systemd/system")

_BOOTED = Path("/run/systemd/system")
_SUFFIX = ".service"

#: Seconds that systemctl may take beyond what the service itself may.
_MARGIN = 10.0
_JOURNAL_LINES = 1000


class SystemdProcessManager(ProcessManager):
    """Writes a unit per service; systemd starts, watches and restarts it.

    Changes go through systemctl(1), states come over D-Bus. Only units that carry our first line are
    ever touched or reported: ``ssh`` is an unknown name here. A unit holds its own spec, so nothing
    else is stored, and a unit of an older release of the agent is written anew from it. From systemd 254
    on the delay between restarts grows; older ones wait for ``RestartPolicy.delay`` each time.
    """

    condition = "this machine was booted with systemd"

    #: By this very interpreter: an agent that pip has installed has no commands in systemd's path.
    _NAMESPACE_COMMAND = (sys.executable, "-I", "-m", "amphora.cmd.netns")

    def __init__(
        self,
        runner: CommandRunner,
        unit_directory: Path = UNIT_DIRECTORY,
        bus: SystemdBus | None = None,
        booted: Path = _BOOTED,
        namespace: str = "",
    ) -> None:
        self._runner = runner
        self._units = SpecFiles(unit_directory, _SUFFIX, UNIT)
        self._bus = bus or SystemdBus()
        self._booted = booted
        self._namespace = namespace
        # Of failed starts: systemd is made to forget them, so that it does not retry.
        self._start_errors: dict[str, str] = {}
        # When each service was last started or reloaded, in the time of :func:`time.time`, as the journal's.
        self._acted_at: dict[str, float] = {}

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the manager over the machine's systemd."""
        return cls(context.runner, namespace=context.namespace)

    def check_available(self) -> None:
        """See the contract. The machine must have been booted with systemd (sd_booted(3))."""
        if not self._booted.is_dir():
            raise DriverUnavailable(f"this machine was not booted with systemd: {self._booted} is missing")
        if shutil.which("systemctl", path=SEARCH_PATH) is None:
            raise DriverUnavailable(f"systemctl is in none of {SEARCH_PATH}")
        try:
            self._bus.version()
        except ServiceError as error:
            raise DriverUnavailable(error.details) from error

    def install(self, spec: ServiceSpec) -> None:
        """See the contract."""
        check_spec(spec)
        unit = render_unit(spec, self._bus.release()).encode()
        former = self._units.read_own(spec.name)
        if former == unit:
            self._reload_if_stale([spec.name])
            return
        self._units.write(spec.name, unit)
        try:
            self._systemctl("daemon-reload")
        except ServiceError:
            self._units.write(spec.name, former)
            raise

    def remove(self, name: str) -> None:
        """See the contract."""
        if self._units.spec(name) is None:
            return
        self.stop(name)
        self._units.write(name, None)
        self._start_errors.pop(name, None)
        self._acted_at.pop(name, None)
        self._systemctl("daemon-reload")

    def start(self, name: str) -> None:
        """See the contract."""
        spec = self._units.required(name)
        state = self._bus.unit(name + _SUFFIX)
        is_running = service_state(state) is ServiceState.RUNNING
        if state.is_enabled and is_running:
            return
        self._acted_at[name] = time.time()
        try:
            # Beforehand although the unit has it too, because only so its output reaches the caller.
            run_check(spec, self._runner)
            self._systemctl("enable", name + _SUFFIX)
            if state.sub_state.startswith("auto-restart"):
                # A start would wait with it for the restart that is due.
                self._systemctl("stop", name + _SUFFIX, limit=spec.stop_timeout + _MARGIN)
            self._systemctl("start", name + _SUFFIX, limit=2 * spec.start_timeout + _MARGIN)
            # Ready to systemd even if its status reports a failure; of one that ran, that of its last reload.
            if not is_running and self._has_failed_although_ready(name, spec):
                raise ServiceError(f"service {name} has not started")
        except ServiceError as error:
            details = self._explain(name, error)
            self._end(name, spec)
            self._start_errors[name] = details
            raise ServiceError(details) from error
        self._start_errors.pop(name, None)

    def stop(self, name: str) -> None:
        """See the contract."""
        spec = self._units.spec(name)
        if spec is None:
            return
        self._end(name, spec)
        self._start_errors.pop(name, None)
        state = self._bus.unit(name + _SUFFIX)
        if state.active_state not in ("inactive", "failed"):
            raise ServiceError(f"service {name} is still {state.active_state} ({state.sub_state})")

    def reload(self, name: str) -> None:
        """See the contract.

        The signal is sent from here and not by ``systemctl reload``, which would run the check a
        second time; it remains for the operator and does the same.
        """
        spec = self._units.required(name)
        state = self._bus.unit(name + _SUFFIX)
        process = _main_process(state)
        if process is None or service_state(state) is not ServiceState.RUNNING:
            raise ServiceError(f"service {name} does not run, so it cannot be reloaded")
        run_check(spec, self._runner)
        self._acted_at[name] = time.time()
        send_reload(spec, process)

    def status(self, name: str) -> ServiceStatus:
        """See the contract."""
        if self._units.spec(name) is None:
            return ServiceStatus(ServiceState.ABSENT)
        unit = self._bus.unit(name + _SUFFIX)
        process = _main_process(unit)
        error = describe_end(unit) or self._start_errors.get(name, "")
        if process is None:
            return ServiceStatus(service_state(unit), last_error=error)
        return ServiceStatus(service_state(unit), process.pid, process.started_at(), error)

    def begin_output(self, name: str) -> None:
        """See the contract."""
        if self._units.spec(name) is not None:
            self._acted_at[name] = time.time()

    def output(self, name: str) -> str:
        """See the contract."""
        acted_at = self._acted_at.get(name)
        if acted_at is None:
            return ""
        with contextlib.suppress(ServiceError):
            # What was just printed may still be on its way.
            self._run("journalctl", "--sync")
        return self._journal(f"--since=@{acted_at:.6f}", f"_SYSTEMD_UNIT={name}{_SUFFIX}")

    def supervise(self) -> None:
        """See the contract. systemd supervises; only what it was kept from starting is started."""
        if self._namespace:
            self._provide_namespace_unit()
        names = self._units.names()
        self._renew_units(names)
        for name in names:
            state = self._bus.unit(name + _SUFFIX)
            if not state.is_enabled:
                continue
            if state.active_state in ("inactive", "failed"):
                LOG.warning("Service %s: enabled but not running; starting it", name)
                self._systemctl("start", "--no-block", name + _SUFFIX)
            elif state.sub_state.startswith("auto-restart"):
                # After a boot it has waited for the namespace, which the agent has made by now.
                LOG.info("Service %s: restarting it now instead of at its next retry", name)
                self._systemctl("restart", "--no-block", name + _SUFFIX)

    def close(self) -> None:
        """See the contract."""
        self._bus.close()

    def _end(self, name: str, spec: ServiceSpec) -> None:
        """Stop a unit for good and make systemd forget how it ended."""
        unit = name + _SUFFIX
        self._systemctl("disable", unit)
        self._systemctl("stop", unit, limit=spec.stop_timeout + _MARGIN)
        if self._bus.unit(unit).active_state == "failed":
            self._systemctl("reset-failed", unit)

    def _explain(self, name: str, error: ServiceError) -> str:
        """Return why a start failed: the state in systemd and the output of the service."""
        state = self._bus.unit(name + _SUFFIX)
        parts = [error.details, describe_end(state), state.status_text]
        if state.invocation.strip("0"):
            parts.append(last_lines(self._journal(f"_SYSTEMD_INVOCATION_ID={state.invocation}")))
        return ": ".join(part for part in parts if part)

    def _journal(self, *which: str) -> str:
        """Return the end of what matches in the journal; empty when it cannot be read."""
        options = ("--quiet", "--no-pager", "--output=cat", f"--lines={_JOURNAL_LINES}")
        try:
            result = self._run("journalctl", *options, *which)
        except ServiceError:
            return ""
        return result.output.strip()[-OUTPUT_SIZE:] if result.succeeded else ""

    def _systemctl(self, *words: str, limit: float = _MARGIN) -> None:
        result = self._run("systemctl", "--quiet", "--no-ask-password", *words, limit=limit)
        if not result.succeeded:
            raise ServiceError(f"systemctl {' '.join(words)} failed: {result.output.strip()}")

    @as_service_error()
    def _run(self, *argv: str, limit: float = _MARGIN) -> CommandResult:
        return self._runner.run(argv, timeout=limit)

    def _reload_if_stale(self, names: Sequence[str]) -> None:
        """Reload systemd if an agent ended between writing a unit and reloading it."""
        if any(self._bus.unit(name + _SUFFIX).needs_reload for name in names):
            self._systemctl("daemon-reload")

    def _renew_units(self, names: Sequence[str]) -> None:
        """Rewrite units of another release of the agent. Running services are not touched."""
        release = self._bus.release()
        changed = False
        for name in names:
            unit = render_unit(self._units.required(name), release).encode()
            if self._units.read(name) != unit:
                LOG.info("Service %s: rewriting its unit in the form of this release", name)
                self._units.write(name, unit)
                changed = True
        if changed:
            self._systemctl("daemon-reload")
        else:
            self._reload_if_stale(names)

    def _has_failed_although_ready(self, name: str, spec: ServiceSpec) -> bool:
        unit = self._bus.unit(name + _SUFFIX)
        # It may have ended by now, and its status with it.
        has_ended = unit.sub_state.startswith("auto-restart") or unit.active_state == "failed"
        return tells_of_failure(unit.status_text) or (spec.readiness is Readiness.NOTIFY and has_ended)

    def _provide_namespace_unit(self) -> None:
        """Have the next boot restore traffic before the agent. A unit by another program stays."""
        path = self._units.directory / NAMESPACE_UNIT
        unit = render_namespace_unit(self._NAMESPACE_COMMAND).encode()
        with as_service_error():
            former = files.read_if_present(path)
            if former == unit or self._is_foreign(former):
                return
            LOG.info("Writing %s, which restores interfaces at boot", path)
            files.write_atomically(path, unit, 0o644)
        self._systemctl("daemon-reload")
        self._systemctl("enable", NAMESPACE_UNIT)
        # All of it is done already; a load balancer that wants it must not wait for it.
        self._systemctl("start", "--no-block", NAMESPACE_UNIT)

    def _is_foreign(self, unit: bytes | None) -> bool:
        if unit is not None:
            return not unit.startswith(NAMESPACE_HEADER.encode())
        # Octavia's own is in another directory.
        return self._run("systemctl", "cat", NAMESPACE_UNIT).succeeded


def _main_process(unit: UnitState) -> ProcessIdentity | None:
    return identify(unit.main_pid) if unit.main_pid > 0 else None
