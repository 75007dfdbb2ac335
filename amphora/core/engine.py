# SPDX-License-Identifier: Apache-2.0
"""The steps that make up a change to a running haproxy; :mod:`amphora.core.apply` owns their order."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from amphora.core.layout import InstanceLayout
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.haproxy.configuration import Configuration, parse
from amphora.haproxy.master import MasterSocket
from amphora.haproxy.overlay import OverlaySettings, render_overlay
from amphora.haproxy.preflight import bind_findings
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.proof import Evidence, Generation, prove_reload, prove_start, snapshot
from amphora.haproxy.stats import StatsSocket
from amphora.models import Readiness, RestartPolicy, ServiceSpec, ServiceStatus
from amphora.system import files, namespaces, processes
from amphora.system.command import CommandRunner

_SOCKET_TIMEOUT = 1.0
_CHECK_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs to know of this amphora.

    :ivar namespace: network namespace of tenant traffic; empty means the agent's own.
    :ivar apply_timeout: seconds from an action to its proof.
    :ivar overlay: what we add to configurations; its stats socket is set for each instance.
    """

    namespace: str
    apply_timeout: float
    overlay: OverlaySettings


class HaproxyEngine:
    """Checks, runs and proves configurations of one instance at a time. Holds no state of its own."""

    def __init__(
        self,
        program: HaproxyProgram,
        services: ProcessManager,
        runner: CommandRunner,
        settings: EngineSettings,
    ) -> None:
        self._program = program
        self._services = services
        self._runner = runner
        self._settings = settings

    def stage(self, layout: InstanceLayout, data: bytes) -> tuple[Configuration, str]:
        """Write a configuration beside the live one and let haproxy check it with our overlay.

        :returns: the configuration as read, and haproxy's own words.
        :raises InvalidConfiguration: haproxy's output, or why it cannot be read; nothing stays staged.
        """
        configuration = parse(data)
        if not configuration.frontends:
            # haproxy would accept it, as our own stats socket is something to listen on.
            raise InvalidConfiguration("The configuration has no frontend, so it would carry no traffic")
        files.write_atomically(layout.staged, data)
        files.write_atomically(layout.staged_overlay, self._overlay(layout, configuration))
        try:
            namespaces.ensure(self._settings.namespace, namespaces.DATA_SYSCTLS, self._runner)
            names: Mapping[str, str] = {
                str(layout.staged): layout.stored.name,
                str(layout.staged_overlay): layout.overlay.name,
            }
            output = self._program.check(
                (layout.staged_overlay, layout.staged),
                namespace=self._settings.namespace,
                timeout=_CHECK_TIMEOUT,
                names=names,
            )
        except BaseException:
            self.unstage(layout)
            raise
        return configuration, output

    def unstage(self, layout: InstanceLayout) -> None:
        """Forget what is staged. Safe to repeat."""
        files.remove(layout.staged)
        files.remove(layout.staged_overlay)

    def preflight(self, layout: InstanceLayout, configuration: Configuration) -> None:
        """Find out, before anything is signalled, what would keep this configuration from running.

        :raises OperationFailed: names line, address and reason of each bind that cannot be had.
        """
        findings = bind_findings(configuration, self._settings.namespace, self._own_processes(layout))
        if findings:
            raise OperationFailed("\n".join(f"[{layout.stored.name}] {finding}" for finding in findings))

    def swap(self, layout: InstanceLayout) -> None:
        """Make the staged files those that the service runs from."""
        files.rename(layout.staged_overlay, layout.overlay)
        files.rename(layout.staged, layout.running)

    def restore_files(self, layout: InstanceLayout) -> Configuration | None:
        """Make the proven configuration the one that the service runs from, and return it.

        Where none was ever proven there is nothing to run from, and None comes back.
        """
        proven = files.read_if_present(layout.proven)
        if proven is None:
            files.remove(layout.running)
            return None
        configuration = parse(proven)
        files.write_atomically(layout.overlay, self._overlay(layout, configuration))
        files.write_atomically(layout.running, proven)
        return configuration

    def start(self, layout: InstanceLayout, configuration: Configuration) -> Evidence:
        """Start the service and prove that all frontends are open.

        :raises OperationFailed: it did not start, or could not be proven in time.
        """
        deadline = self._deadline()
        # After a crash it may be started again over the former files at this very moment.
        self._services.stop(layout.service_name)
        self._services.install(self._spec(layout))
        self._services.start(layout.service_name)
        return prove_start(self._master(layout), self._stats(layout), configuration, deadline)

    def reload(self, layout: InstanceLayout, configuration: Configuration) -> Evidence:
        """Reload the service and prove by the master process that a new worker has taken over.

        :raises OperationFailed: it was refused, or could not be proven in time.
        """
        deadline = self._deadline()
        before = self._before(layout)
        self._services.install(self._spec(layout))
        self._services.reload(layout.service_name)
        return prove_reload(before, self._master(layout), self._stats(layout), configuration, deadline)

    def stop(self, layout: InstanceLayout) -> None:
        """End the service; it stays installed.

        :raises ServiceError: a process survived.
        """
        self._services.stop(layout.service_name)

    def remove(self, layout: InstanceLayout) -> None:
        """End the service and forget it.

        :raises ServiceError: a process survived, or its definition could not be removed.
        """
        self._services.remove(layout.service_name)

    def status(self, layout: InstanceLayout) -> ServiceStatus:
        """Return what the service is doing now. Never forks, never waits for a change."""
        return self._services.status(layout.service_name)

    def _own_processes(self, layout: InstanceLayout) -> list[int]:
        status = self.status(layout)
        return [] if status.pid is None else [status.pid, *processes.children_of(status.pid)]

    def _before(self, layout: InstanceLayout) -> Generation:
        before = snapshot(self._master(layout))
        if before is None:
            raise OperationFailed(
                f"the master socket {layout.master_socket} does not answer, so a reload could not be proven"
            )
        return before

    def _overlay(self, layout: InstanceLayout, configuration: Configuration) -> bytes:
        return render_overlay(
            configuration, replace(self._settings.overlay, stats_socket=layout.stats_socket)
        )

    def _spec(self, layout: InstanceLayout) -> ServiceSpec:
        # "log global" copies only the targets known at its line, so ours come first.
        both = (layout.overlay, layout.running)
        return ServiceSpec(
            name=layout.service_name,
            description=f"haproxy of {layout.instance_id}",
            argv=self._program.service_argv(both, layout.pid_file, layout.master_socket),
            check_argv=self._program.check_argv(both),
            reload_signal=signal.SIGUSR2,
            pid_file=layout.pid_file,
            namespace=self._settings.namespace,
            readiness=Readiness.NOTIFY if self._program.notifies() else Readiness.EXEC,
            restart=RestartPolicy(delay=0.25),
            start_timeout=self._settings.apply_timeout,
        )

    def _master(self, layout: InstanceLayout) -> MasterSocket:
        return MasterSocket(layout.master_socket, _SOCKET_TIMEOUT)

    def _stats(self, layout: InstanceLayout) -> StatsSocket:
        return StatsSocket(layout.stats_socket, _SOCKET_TIMEOUT)

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.apply_timeout
