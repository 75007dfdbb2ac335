# SPDX-License-Identifier: Apache-2.0
"""The steps of a change to a running haproxy; :mod:`amphora.core.changes.operations` owns their order."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from amphora.core.workloads.haproxy_checks import check_staged
from amphora.core.workloads.haproxy_files import InstanceLayout
from amphora.core.workloads.running_haproxy import RunningInstance, local_peer
from amphora.core.workloads.worker_group import WorkerGroup
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import OperationFailed
from amphora.haproxy.control.workers import workers_of
from amphora.haproxy.overlay import RELOAD_LIMIT, OverlaySettings, render_overlay
from amphora.haproxy.preflight.checks import DEFAULT_RESERVE, Finding, gather_facts, preflight, refusing_start
from amphora.haproxy.preflight.footprint import FOOTPRINTS
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.proof.probe_binds import probe_seconds
from amphora.haproxy.proof.prove import Evidence, Generation
from amphora.haproxy.reading.configuration import Configuration, parse
from amphora.haproxy.reading.section_lines import global_values
from amphora.haproxy.reading.unsuitable_lines import without_run_mode
from amphora.models import Readiness, RestartPolicy, ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files, namespaces, processes
from amphora.system.command import CommandRunner

LOG = logging.getLogger(__name__)

_LOOK_INTERVAL = 0.05
#: Seconds in which the processes of a haproxy that was killed are gone, or others in their place.
_SETTLING = 3.0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the engine needs to know of this amphora.

    :ivar namespace: network namespace of tenant traffic; empty means the agent's own.
    :ivar apply_timeout: seconds from an action to its proof.
    :ivar overlay: what we add to configurations; its stats socket is set for each instance.
    :ivar memory_reserve: bytes that a reload must leave to the rest of the machine.
    :ivar max_old_workers: that may still have clients after a reload; None for any number.
    :ivar group_file: of the image, names the group of haproxy's workers; it need not exist. Or None.
    """

    namespace: str
    apply_timeout: float
    overlay: OverlaySettings
    group_file: Path | None = None
    memory_reserve: int = DEFAULT_RESERVE
    max_old_workers: int | None = None


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
        self._group = WorkerGroup(settings.group_file, settings.overlay.group)

    @property
    def namespace(self) -> str:
        """The network namespace of tenant traffic; empty means the agent's own."""
        return self._settings.namespace

    def adapt(self, data: bytes) -> bytes:
        """Return a stored configuration as it runs here.

        Left out is a group that it names and cannot have, and how it is to run where haproxy warns of that.

        :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
        :raises OperationFailed: the executable is missing or cannot be run.
        """
        data = self._group.adapt(data)
        return without_run_mode(data) if self._program.refresh().warns_of_run_mode else data

    def stage(self, layout: InstanceLayout, data: bytes) -> Configuration:
        """Write a configuration as it is to run, and our overlay, beside the live ones.

        :returns: the configuration as read.
        :raises InvalidConfiguration: why it cannot be read.
        """
        data = self.adapt(data)
        configuration = parse(data)
        files.write_atomically(layout.staged, data)
        files.write_atomically(layout.staged_overlay, self._overlay(layout, configuration))
        return configuration

    def check(self, layout: InstanceLayout, local_peer: str, findings: Sequence[Finding]) -> str:
        """Let haproxy check what is staged, and return its own words.

        :param local_peer: this amphora's name in ``peers`` sections; empty: its host name.
        :param findings: of :meth:`findings`.
        :raises InvalidConfiguration: haproxy's output, and what was found of the files.
        """
        self.make_namespace()
        return check_staged(self._program, layout, self._settings.namespace, local_peer, findings)

    def findings(
        self, layout: InstanceLayout, configuration: Configuration, local_peer: str
    ) -> tuple[Finding, ...]:
        """Find out, before anything is signalled, what would keep a configuration from running."""
        found = self._look(layout, configuration, local_peer)
        if refusing_start(found):
            # What was in the way may have been our own: a worker whose master was killed.
            self._running(layout).await_strays(_SETTLING)
            found = self._look(layout, configuration, local_peer)
        return found

    def _look(
        self, layout: InstanceLayout, configuration: Configuration, local_peer: str
    ) -> tuple[Finding, ...]:
        pid, running = self.status(layout).pid, files.read_if_present(layout.running)
        facts = gather_facts(
            self._settings.namespace,
            master_pid=pid,
            worker_pids=frozenset(processes.children_of(pid)) if pid else frozenset(),
            current_worker=self.serving_worker(layout),
            running=parse(running) if pid and running else None,
            local_peer=local_peer,
            reserve=self._settings.memory_reserve,
            relaxed_limits=self._settles_for_less(),
            footprint=self._program.refresh().latest(FOOTPRINTS),
        )
        return preflight(configuration, facts)

    def patience(self, configuration: Configuration) -> float:
        """Seconds that a proof of this configuration may take; more with more binds."""
        return self._settings.apply_timeout + probe_seconds(configuration)

    def make_namespace(self) -> None:
        """Make the network namespace that instances run in where it is missing. Safe to repeat.

        :raises OperationFailed: it could not be made.
        """
        namespaces.ensure(self._settings.namespace, namespaces.DATA_SYSCTLS, self._runner)

    def keep_former(self, layout: InstanceLayout) -> None:
        """Keep what is live under second names, so that going back needs no room on the disk.

        Copies where people may edit a file in place: that must not reach what was proven.
        """
        for live, kept in layout.former:
            files.link(live, kept)
        for path, kept in ((layout.stored, layout.to_be_proven), (layout.proven, layout.stored_back)):
            data = files.read_if_present(path)
            if data is not None:
                files.write_atomically(kept, data)

    def unstage(self, layout: InstanceLayout) -> None:
        """Forget everything that is there only while a change is under way. Safe to repeat."""
        for path in layout.transient:
            files.remove(path)

    def swap(self, layout: InstanceLayout) -> None:
        """Make the staged files those that the service runs from."""
        files.rename(layout.staged_overlay, layout.overlay)
        files.rename(layout.staged, layout.running)

    def keep(self, layout: InstanceLayout) -> None:
        """Make what runs now what :meth:`restore_files` goes back to from now on."""
        files.rename(layout.to_be_proven, layout.proven)
        self.unstage(layout)

    def restore_files(self, layout: InstanceLayout) -> Configuration | None:
        """Make the proven configuration the one that the service runs from, and return it.

        Where none was ever proven there is nothing to run from, and None comes back.
        """
        proven = files.read_if_present(layout.proven)
        if proven is None:
            files.remove(layout.running)
            return None
        proven = self.adapt(proven)
        configuration = parse(proven)
        if all(kept.exists() for _, kept in layout.former):
            for live, kept in layout.former:
                files.rename(kept, live)
        else:
            files.write_atomically(layout.overlay, self._overlay(layout, configuration))
            files.write_atomically(layout.running, proven)
        return configuration

    def start(self, layout: InstanceLayout, configuration: Configuration) -> Evidence:
        """Start the service and prove that all frontends are open.

        :raises OperationFailed: it did not start, or could not be proven in time.
        """
        self.act_start(layout)
        return self.prove_start(layout, configuration)

    def act_start(self, layout: InstanceLayout) -> None:
        """Start the service.

        :raises ServiceError: it did not start.
        """
        # After a crash it may be started again over the former files at this very moment.
        self._services.stop(layout.service_name)
        self._services.install(self._spec(layout))
        self._services.start(layout.service_name)

    def prove_start(self, layout: InstanceLayout, configuration: Configuration) -> Evidence:
        """Prove that all frontends of a started service are open.

        :raises ProofFailed: it could not be seen in time.
        """
        return self._running(layout).prove_start(configuration, self._deadline(configuration))

    def reload(self, layout: InstanceLayout, configuration: Configuration) -> Evidence:
        """Reload the service and prove by the master process that a new worker has taken over.

        :raises OperationFailed: it was refused, or could not be proven in time.
        """
        # What failed may have been cut off right after its signal, and a master that begins anew is silent.
        before = self.before_reload(layout, configuration, self.patience(configuration))
        self.act_reload(layout, before)
        return self.prove_reload(layout, configuration, before)

    def before_reload(
        self, layout: InstanceLayout, configuration: Configuration, patience: float = _SETTLING
    ) -> Generation | None:
        """Return what runs, to be told from what runs afterwards; None where only a new start will do.

        :param patience: seconds that a master process may be silent.
        :raises OperationFailed: it does not answer, so a reload could not be proven.
        """
        running, deadline = self._running(layout), time.monotonic() + patience
        if configuration.peers and running.is_other_peer():
            # A master that reloads keeps its arguments, so only a new one takes another name.
            LOG.warning("%s is started anew, as its name among the peers has changed", layout.instance_id)
            return None
        while (before := running.snapshot()) is None:
            if self.status(layout).state is not ServiceState.RUNNING:
                LOG.warning("%s is started anew, as its haproxy has ended", layout.instance_id)
                return None
            if time.monotonic() > deadline:
                raise OperationFailed(
                    f"the master socket {layout.master_socket} does not answer, "
                    f"so a reload could not be proven"
                )
            time.sleep(_LOOK_INTERVAL)
        return before

    def act_reload(self, layout: InstanceLayout, before: Generation | None) -> None:
        """Reload the service, or start it anew.

        :raises ServiceError: no signal could be sent.
        :raises ReloadRefused: the new configuration could not be loaded; the former worker goes on.
        :raises StorageError: haproxy could not bind its sockets anew, and would end; it was not touched.
        """
        if before is None:
            self.act_start(layout)
            return
        running = self._running(layout)
        if running.is_adopted():
            self._store_what_runs(layout)
        self._save_servers_state(layout)
        self._services.install(self._spec(layout))
        files.require_room_for_sockets(layout.directory)
        deadline = self._deadline(Configuration())
        # A signal has no answer, and 3.1 to 3.3-dev lose it after a reload that failed.
        if self._program.refresh().reload_answers and not running.is_adopted():
            running.reload(before, deadline)
        else:
            self._services.reload(layout.service_name)
            running.await_taken_up(before, deadline)

    def prove_reload(
        self, layout: InstanceLayout, configuration: Configuration, before: Generation | None
    ) -> Evidence:
        """Prove by the master process that a new worker has taken over; then end old ones that are too many.

        :raises ProofFailed: it could not be seen in time, or was refused.
        """
        if before is None:
            return self.prove_start(layout, configuration)
        running, limit = self._running(layout), self._settings.max_old_workers
        evidence = running.prove_reload(configuration, before, self._deadline(configuration))
        if limit is not None and RELOAD_LIMIT not in global_values(configuration.lines):
            running.end_old_workers(limit)
        return evidence

    def adopt(self, layout: InstanceLayout, local_peer: str) -> None:
        """Make a service of ours of a process that another agent started; it is not touched.

        :param local_peer: this amphora's name in ``peers`` sections, as that process has it.
        :raises OperationFailed: it could not be installed.
        :raises InvalidConfiguration: what is stored cannot be read.
        """
        data = files.read_if_present(layout.stored) or b""
        adapted = self.adapt(data)
        files.write_atomically(layout.overlay, self._overlay(layout, parse(adapted)))
        if adapted == data:
            # A second name, so that it is as old as what runs from it.
            files.link(layout.stored, layout.running)
        else:
            files.write_atomically(layout.running, adapted)
            files.date_like(layout.running, layout.stored)
        files.write_atomically(layout.proven, data)
        if local_peer:
            files.write_atomically(layout.local_peer, local_peer.encode())
        self._services.install(self._spec(layout))

    def disown(self, layout: InstanceLayout) -> None:
        """Forget a service whose process cannot be adopted."""
        self._services.remove(layout.service_name)
        for path in (layout.running, layout.proven, layout.overlay):
            files.remove(path)

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

    def serving_worker(self, layout: InstanceLayout) -> int | None:
        """Return the id of the worker that takes new connections, or None. Asks nobody, may be repeated."""
        pid = self.status(layout).pid
        workers = workers_of({pid})[pid] if pid is not None else ()
        return workers[-1].pid if workers else None

    def _store_what_runs(self, layout: InstanceLayout) -> None:
        # On the way back from a configuration that failed the stored one is still that.
        stored, running = files.read_if_present(layout.stored), files.read_if_present(layout.running)
        if stored is not None and running not in (stored, self.adapt(stored)):
            files.link(layout.proven, layout.stored)

    def _save_servers_state(self, layout: InstanceLayout) -> None:
        # Without it members begin anew as their configuration has them, which is no reason to fail.
        try:
            state = self._running(layout).stats.servers_state()
            files.write_atomically(layout.servers_state, f"{state}\n".encode(), 0o644)
        except OperationFailed as error:
            LOG.warning("the state of the servers of %s was not saved: %s", layout.instance_id, error)

    def _overlay(self, layout: InstanceLayout, configuration: Configuration) -> bytes:
        overlay = replace(
            self._settings.overlay,
            stats_socket=layout.stats_socket,
            group=self._group.name(),
            relaxed_limits=self._settles_for_less(),
        )
        return render_overlay(configuration, overlay, self._program.refresh())

    def _settles_for_less(self) -> bool:
        # Controllers ask for a million connections where there is no limit.
        return self._program.refresh().limits_are_strict

    def _running(self, layout: InstanceLayout) -> RunningInstance:
        return RunningInstance(layout, self._services, self._settings.namespace)

    def _spec(self, layout: InstanceLayout) -> ServiceSpec:
        # "log global" copies only the targets known at its line, so ours come first.
        both, peer = (layout.overlay, layout.running), local_peer(layout)
        return ServiceSpec(
            name=layout.service_name,
            description=f"haproxy of {layout.instance_id}",
            argv=self._program.service_argv(both, layout.pid_file, layout.master_socket, peer),
            check_argv=self._program.check_argv(both, peer),
            reload_signal=signal.SIGUSR2,
            pid_file=layout.pid_file,
            namespace=self._settings.namespace,
            readiness=Readiness.NOTIFY if self._program.notifies() else Readiness.EXEC,
            restart=RestartPolicy(delay=0.25),
            start_timeout=self._settings.apply_timeout,
        )

    def _deadline(self, configuration: Configuration) -> float:
        return time.monotonic() + self.patience(configuration)
