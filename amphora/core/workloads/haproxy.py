# SPDX-License-Identifier: Apache-2.0
"""haproxy instances: one supervised haproxy each, with any number of frontends, and certificates."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.haproxy_checks import check_staged, refuse_start
from amphora.core.workloads.haproxy_files import HaproxyFiles, certificates_target
from amphora.core.workloads.running_haproxy import RunningHaproxy
from amphora.core.workloads.worker_group import WorkerGroup
from amphora.core.workloads.workload import DeletableWorkload, WorkloadContext
from amphora.drivers.cert_store.base import CertStore
from amphora.errors import (
    AmphoraError,
    ChangeFailed,
    InstanceActionFailed,
    InstanceNotFound,
    InstanceWasGone,
    InvalidConfiguration,
    OperationFailed,
    StorageError,
)
from amphora.haproxy.control.master import workers_of
from amphora.haproxy.overlay import RELOAD_LIMIT, OverlaySettings, render_overlay
from amphora.haproxy.preflight.checks import DEFAULT_RESERVE, gather_facts, preflight
from amphora.haproxy.preflight.findings import Finding, refusing_start
from amphora.haproxy.preflight.footprint import FOOTPRINTS
from amphora.haproxy.program import HaproxyProgram, peer_name
from amphora.haproxy.proof.probe_binds import probe_seconds
from amphora.haproxy.proof.prove import Generation
from amphora.haproxy.reading.configuration import Configuration, parse
from amphora.haproxy.reading.section_lines import global_values
from amphora.haproxy.reading.unsuitable_lines import without_run_mode
from amphora.models import IPAddress, Proof, Readiness, RestartPolicy, ServiceSpec, ServiceState
from amphora.system import files, processes

LOG = logging.getLogger(__name__)

_LOOK_INTERVAL = 0.05
#: Seconds in which the processes of a haproxy that was killed are gone, or others in their place.
_SETTLING = 3.0
#: Seconds that ending a haproxy may take.
_STOPPING = 30.0


@dataclass(frozen=True, slots=True)
class HaproxySettings:
    """What instances need to know of this amphora.

    :ivar apply_timeout: seconds from an action to its proof.
    :ivar overlay: what we add to configurations; its stats socket is set for each instance.
    :ivar memory_reserve: bytes that a reload must leave to the rest of the machine.
    :ivar max_old_workers: that may still have clients after a reload; None for any number.
    :ivar group_file: of the image, names the group of haproxy's workers; it need not exist. Or None.
    """

    apply_timeout: float
    overlay: OverlaySettings
    group_file: Path | None = None
    memory_reserve: int = DEFAULT_RESERVE
    max_old_workers: int | None = None


class HaproxyWorkload(DeletableWorkload[Configuration, Generation]):
    """One instance.

    :param namespace: where its binds are.
    """

    program_name: ClassVar[str] = "haproxy"
    keeps_serving: ClassVar[bool] = True
    is_compared_at_rest: ClassVar[bool] = True
    files: HaproxyFiles

    def __init__(
        self,
        own_files: HaproxyFiles,
        context: WorkloadContext,
        program: HaproxyProgram,
        cert_store: CertStore,
        namespace: DataNamespace,
        settings: HaproxySettings,
    ) -> None:
        super().__init__(own_files, context)
        self._program = program
        self._cert_store = cert_store
        self._namespace = namespace
        self._settings = settings
        self._group = WorkerGroup(settings.group_file, settings.overlay.group)
        self._running = RunningHaproxy(own_files, context.services, namespace.name)
        #: Of the check of what is staged.
        self._findings: tuple[Finding, ...] = ()

    def upload(
        self,
        data: bytes,
        amphora_id: str = "",
        *,
        may_be_idle: bool = False,
        expected: Expected = ANYTHING,
    ) -> str:
        """Check and store a configuration. A running process is not touched. Safe to repeat.

        :param amphora_id: names this amphora in ``peers`` sections, unless the configuration says otherwise;
            empty: its host name does.
        :param may_be_idle: whether it may be without any frontend.
        :returns: haproxy's output.
        :raises InvalidConfiguration: haproxy's output; the former configuration stays.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        """
        configuration = parse(data)
        if not may_be_idle and not configuration.frontends:
            # haproxy would accept it, as our own stats socket is something to listen on.
            raise InvalidConfiguration("The configuration has no frontend, so it would carry no traffic")
        peer = peer_name(amphora_id) if amphora_id and not configuration.local_peer else ""
        return self._store(data, expected, beside={self.files.received_peer: peer.encode()})

    def store_again(self, data: bytes) -> str:
        """Store a configuration that was proven before; return haproxy's output."""
        return self.upload(data, may_be_idle=True)

    def as_run(self, data: bytes) -> bytes:
        """Return an uploaded configuration as it runs here.

        Left out is a group that it names and cannot have, and its run mode where haproxy warns of that.

        :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
        :raises OperationFailed: the executable is missing or cannot be run.
        """
        data = self._group.adapt(data)
        return without_run_mode(data) if self._program.refresh().warns_of_run_mode else data

    def limits(self, configuration: Configuration | None) -> Mapping[str, float]:
        """Return what proofs need; in a rollback a start or reload may be taken twice, with two proofs."""
        timeout = self._proof_timeout(configuration or Configuration())
        return {
            "apply": timeout + _STOPPING,
            "prove": timeout + 5.0,
            "restore": 2 * timeout + 2 * _STOPPING,
        }

    def stage_swap(self, configuration: Configuration) -> None:
        """Keep what runs, for a rollback; the overlay is the one that was checked."""
        self.files.stage_roll_back()

    def check(self, configuration: Configuration) -> str:
        """Let haproxy check what is staged, and return its output.

        :raises InvalidConfiguration: haproxy's output, and what was found of the files.
        """
        return self._check(configuration, self.files.peer())

    def check_upload(self, configuration: Configuration) -> str:
        """Let haproxy check an upload; what only keeps it from running now is in the output.

        One that is refused is kept for diagnosis, unless nothing was stored before it.
        """
        own = self.files
        try:
            output = self._check(configuration, (files.read_if_present(own.received_peer) or b"").decode())
        except InvalidConfiguration:
            if own.stored.exists():
                with suppress(StorageError):
                    files.rename(own.received, own.refused)
            raise
        remarks = (f"Now it would not run or run with less: {finding}" for finding in self._findings)
        return "\n".join((output.strip(), *remarks))

    def preflight(self, configuration: Configuration, kind: str) -> Generation | None:
        """Refuse what could not run now, and return what runs."""
        refuse_start(self.files, self._findings)
        return super().preflight(configuration, kind)

    def before_reload(self, configuration: Configuration, *, is_rollback: bool = False) -> Generation | None:
        """Return what runs; None where only a new start will do.

        :param is_rollback: what failed may have been cut off right after its signal, and a master that
            begins anew is silent.
        """
        timeout = self._proof_timeout(configuration) if is_rollback else _SETTLING
        deadline = time.monotonic() + timeout
        if configuration.peers and self._running.is_other_peer():
            # A master that reloads keeps its arguments, so only a new one takes another name.
            LOG.warning("%s is started anew, as its name among the peers has changed", self.id)
            return None
        while (before := self._running.snapshot()) is None:
            if self.status().state is not ServiceState.RUNNING:
                LOG.warning("%s is started anew, as its haproxy has ended", self.id)
                return None
            if time.monotonic() > deadline:
                raise OperationFailed(
                    f"the master socket {self.files.master_socket} does not answer, "
                    f"so a reload could not be proven"
                )
            time.sleep(_LOOK_INTERVAL)
        return before

    def prove(self, configuration: Configuration, before: Generation | None) -> Proof:
        """Prove that all frontends are open, after a reload by a new worker; then end surplus old ones."""
        deadline, limit = self._deadline(configuration), self._settings.max_old_workers
        evidence = self._running.prove(configuration, deadline, before)
        if before and limit is not None and RELOAD_LIMIT not in global_values(configuration.lines):
            self._running.end_old_workers(limit)
        return Proof(evidence.master_pid, str(evidence))

    def serving(self) -> str:
        """Return which worker goes on."""
        worker = self.serving_worker()
        return f" Worker {worker} goes on serving." if worker else ""

    def still_runs(self, before: Generation | None) -> bool:
        """Whether the same master runs: one that was started from what failed has no old clients."""
        status = self.status()
        is_other = before is not None and before.master_pid != status.pid
        return status.state is ServiceState.RUNNING and not is_other

    def serving_worker(self) -> int | None:
        """Return the id of the worker that takes new connections, or None. Asks no process."""
        pid = self.status().pid
        workers = workers_of({pid})[pid] if pid is not None else ()
        return workers[-1].pid if workers else None

    def findings(self, configuration: Configuration, local_peer: str) -> tuple[Finding, ...]:
        """Find out, before anything is signalled, what would keep a configuration from running."""
        found = self._inspect(configuration, local_peer)
        if refusing_start(found):
            # What was in the way may have been our own: a worker whose master was killed.
            self._running.await_strays(_SETTLING)
            found = self._inspect(configuration, local_peer)
        return found

    def _check(self, configuration: Configuration, local_peer: str) -> str:
        self._findings = self.findings(configuration, local_peer)
        self._namespace.ensure()
        return check_staged(self._program, self.files, self._namespace.name, local_peer, self._findings)

    def _inspect(self, configuration: Configuration, local_peer: str) -> tuple[Finding, ...]:
        pid, running = self.status().pid, files.read_if_present(self.files.running)
        facts = gather_facts(
            self._namespace.name,
            master_pid=pid,
            worker_pids=frozenset(processes.children_of(pid)) if pid else frozenset(),
            current_worker=self.serving_worker(),
            running=parse(running) if pid and running else None,
            local_peer=local_peer,
            reserve=self._settings.memory_reserve,
            relaxed_limits=self._has_relaxed_limits(),
            footprint=self._program.refresh().latest(FOOTPRINTS),
        )
        return preflight(configuration, facts)

    def _reload(self, configuration: Configuration, before: Generation) -> None:
        running = self._running
        if running.is_adopted():
            self._store_what_runs()
        self._save_servers_state()
        self._services.install(self._spec())
        # haproxy could not bind its sockets anew, and would end.
        files.require_room_for_sockets(self.files.directory)
        deadline = self._deadline(Configuration())
        # A signal has no answer, and 3.1 to 3.3-dev lose it after a reload that failed.
        if self._program.refresh().reload_answers and not running.is_adopted():
            running.reload(before, deadline)
        else:
            self._services.reload(self.files.service_name)
            running.await_taken_up(before, deadline)

    def _store_what_runs(self) -> None:
        # On the way back from a configuration that failed the stored one is still that.
        stored, running = (files.read_if_present(path) for path in (self.files.stored, self.files.running))
        if stored is not None and running not in (stored, self.as_run(stored)):
            files.link(self.files.proven, self.files.stored)

    def _save_servers_state(self) -> None:
        # Without it members begin anew as their configuration has them, which is no reason to fail.
        try:
            state = self._running.stats.servers_state()
            files.write_atomically(self.files.servers_state, f"{state}\n".encode(), 0o644)
        except OperationFailed as error:
            LOG.warning("could not save the state of the servers of %s: %s", self.id, error)

    def _foreign_pid(self) -> int | None:
        pid = processes.read_pid_file(self.files.pid_file)
        return pid if pid is not None and str(self.files.stored) in processes.command_line(pid) else None

    def take_files_over(self, data: bytes) -> None:
        """Write what its service would have left, no younger than the process that runs from it."""
        super().take_files_over(data)
        own = self.files
        if files.read_if_present(own.running) == data:
            # A second name, so that it is as old as what runs from it.
            files.link(own.stored, own.running)
        else:
            files.date_like(own.running, own.stored)
        pid = self._foreign_pid()
        arguments = processes.command_line(pid) if pid is not None else ()
        peer = next((after for option, after in pairwise(arguments) if option == "-L"), "")
        if peer:
            files.write_atomically(own.local_peer, peer.encode())

    def _inputs(self) -> object:
        paths = (self.files.stored, self.files.local_peer, self._cert_store.directory(self.id))
        return tuple(files.identity(path) for path in paths)

    def _targets(self) -> Iterable[str]:
        return self.id, certificates_target(self.id)

    def _remove_files(self) -> None:
        self._cert_store.delete_all(self.id)
        self.files.remove_named_sockets()
        files.remove_tree(self.files.directory)

    def _verb(self, action: str, kind: str) -> str:
        return kind

    def _note_gone(self, pid: int | None) -> None:
        files.remove(self.files.pid_file)
        which = f" with PID {pid}" if pid is not None else ""
        raise InstanceWasGone("stop", f"haproxy process{which} not found")

    def _addresses(self, configuration: Configuration) -> set[IPAddress]:
        binds = (bind for frontend in configuration.listeners for bind in frontend.binds)
        hosts = {endpoint.host for bind in binds for endpoint in bind.endpoints}
        return {host for host in hosts if host is not None}

    def _not_found(self) -> InstanceNotFound:
        return InstanceNotFound(self.id)

    def _failed(self, action: str, error: AmphoraError) -> InstanceActionFailed:
        if action == "delete":
            return InstanceActionFailed(
                "stop", error.reason if isinstance(error, ChangeFailed) else error.details
            )
        return InstanceActionFailed(action, error.details)

    def _read(self, data: bytes) -> Configuration:
        return parse(data)

    def _overlay(self, configuration: Configuration) -> bytes:
        overlay = replace(
            self._settings.overlay,
            stats_socket=self.files.stats_socket,
            group=self._group.name(),
            relaxed_limits=self._has_relaxed_limits(),
        )
        return render_overlay(configuration, overlay, self._program.refresh())

    def _has_relaxed_limits(self) -> bool:
        # Controllers ask for a million connections if there is no limit.
        return self._program.refresh().limits_are_strict

    def _spec(self) -> ServiceSpec:
        # "log global" copies only the targets known at its line, so ours come first.
        own, both, peer = self.files, (self.files.overlay, self.files.running), self.files.peer()
        return ServiceSpec(
            name=own.service_name,
            description=f"haproxy of {self.id}",
            argv=self._program.service_argv(both, own.pid_file, own.master_socket, peer),
            check_argv=self._program.check_argv(both, peer),
            reload_signal=signal.SIGUSR2,
            pid_file=own.pid_file,
            namespace=self._namespace.name,
            readiness=Readiness.NOTIFY if self._program.notifies() else Readiness.EXEC,
            restart=RestartPolicy(delay=0.25),
            start_timeout=self._settings.apply_timeout,
        )

    def _proof_timeout(self, configuration: Configuration) -> float:
        # More with more binds.
        return self._settings.apply_timeout + probe_seconds(configuration)

    def _deadline(self, configuration: Configuration) -> float:
        return time.monotonic() + self._proof_timeout(configuration)
