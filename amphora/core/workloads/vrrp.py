# SPDX-License-Identifier: Apache-2.0
"""VRRP: the keepalived that moves virtual addresses between two amphorae."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.service_changes import RELOAD, START, STOP
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.core.workloads.workload import Workload, WorkloadContext
from amphora.errors import (
    AmphoraError,
    InvalidConfiguration,
    OperationFailed,
    ProofFailed,
    VrrpActionFailed,
    VrrpNotConfigured,
    VrrpWasGone,
)
from amphora.keepalived.configuration import KeepalivedConfiguration, parse
from amphora.keepalived.overlay import render_overlay, with_known_words
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.program import KeepalivedProgram
from amphora.keepalived.proof import KeepalivedProof, RunningKeepalived, new_generation
from amphora.keepalived.state import VrrpStates
from amphora.keepalived.watchdog import Watchdog
from amphora.models import Proof, RestartPolicy, Role, ServiceSpec, ServiceState
from amphora.system import files, host
from amphora.system.addresses import addresses_in
from amphora.system.processes import bytes_read

LOG = logging.getLogger(__name__)

#: Seconds that duplicate address detection may take (it is about 1 s, RFC 4862), and between two looks.
_TENTATIVE_TIME = 4.0
_LOOK_INTERVAL = 0.05

_LIMITS: Mapping[str, float] = MappingProxyType({"apply": 90.0, "restore": 240.0})


@dataclass(frozen=True, slots=True)
class VrrpSettings:
    """What keepalived's VRRP needs to know of this amphora.

    :ivar namespace: network namespace of tenant traffic; empty means the agent's own.
    :ivar apply_timeout: seconds from an action to its proof.
    :ivar restart: what happens when keepalived ends by itself.
    """

    namespace: str
    apply_timeout: float
    restart: RestartPolicy = RestartPolicy()


class VrrpWorkload(Workload[KeepalivedConfiguration, RunningKeepalived]):
    """The one keepalived of this amphora.

    Each overlay gives the VRRP process the name of a *generation*; once it bears that, it has read this file.

    :param install_scripts: writes the scripts that configurations refer to; called before one is checked,
        as keepalived refuses a configuration whose script is missing.
    """

    program_name: ClassVar[str] = "keepalived"
    leaves_running_alone: ClassVar[bool] = False
    files: VrrpFiles

    def __init__(
        self,
        own_files: VrrpFiles,
        context: WorkloadContext,
        program: KeepalivedProgram,
        settings: VrrpSettings,
        install_scripts: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(own_files, context)
        self._program = program
        self._settings = settings
        self._install_scripts = install_scripts
        self._processes = KeepalivedProcesses(
            own_files.pid_file, own_files.vrrp_pid_file, own_files.overlay, of_others=own_files.stored
        )
        self._states = VrrpStates(own_files.states)
        self._watchdog = Watchdog(self._processes, self._states, own_files.fifo, settings.namespace)
        self._proof = KeepalivedProof(self._processes, self._states, settings.namespace)
        #: Of the latest overlay and of the one before; empty where an agent that has ended wrote it.
        self._generation = self._generation_back = ""

    def upload(self, data: bytes, expected: Expected = ANYTHING) -> str:
        """Store a configuration of the controller's, once keepalived accepts it. Safe to repeat.

        It takes effect with the next start or reload; what runs is not touched.

        :returns: keepalived's output.
        :raises InvalidConfiguration: keepalived's output; the one stored so far stays.
        :raises PreconditionFailed: the one stored so far is not the expected one.
        :raises OperationFailed: it could not be checked or stored.
        """
        return self._store(data, expected)

    def set_default(self, data: bytes | None) -> str:
        """Store the configuration that counts while the controller has uploaded none; None removes it.

        It takes effect with the next start or reload. Safe to repeat.

        :returns: keepalived's output.
        :raises InvalidConfiguration: keepalived's output; the one stored so far stays.
        :raises OperationFailed: it could not be checked or stored.
        """
        if data is not None:
            return self._store(data, ANYTHING, self.files.rendered)
        with self._context.locks.hold(self.id):
            files.remove(self.files.rendered)
            # One that failed and could not be undone has left what it staged.
            self.unstage()
            return ""

    def role(self) -> Role:
        """Return what this node is now, by the latest state of the running keepalived. Reads memory only."""
        return self._states.role()

    def recover(self) -> None:
        """Put in order what the last agent left. Called once, after the process manager has taken over.

        A keepalived that runs is followed from here on. Of one that should run and does not, the virtual
        addresses are taken away at once.

        :raises AmphoraError: something could not be put in order; all that can be is.
        """
        if self.files.directory.is_dir():
            super().recover()

    def close(self) -> None:
        """Let go of keepalived, which goes on. Called once, last."""
        self._watchdog.close()

    def as_run(self, data: bytes) -> bytes:
        """Return a configuration in words that keepalived knows. Safe to repeat."""
        return with_known_words(data)

    def are_same(self, one: bytes | None, other: bytes | None) -> bool:
        """Whether two configurations run as the same; None stands for none."""
        both = one is not None and other is not None
        return one == other or (both and self.as_run(one or b"") == self.as_run(other or b""))

    def limits(self, configuration: KeepalivedConfiguration | None) -> Mapping[str, float]:
        """Return the seconds for a link-local address to be had, a stop and a start, and all that twice."""
        return _LIMITS

    def stage_upload(self, data: bytes) -> KeepalivedConfiguration:
        """Stage a configuration to store, and the scripts that it may name."""
        self._install_scripts()
        return super().stage_upload(data)

    def check(self, configuration: KeepalivedConfiguration) -> str:
        """Let keepalived check what is staged, and return its output.

        :raises InvalidConfiguration: that output.
        """
        own = self.files
        names = {str(own.staged): own.stored.name, str(own.staged_overlay): own.overlay.name}
        return self._program.check(own.staged_overlay, namespace=self._settings.namespace, names=names)

    def preflight(self, configuration: KeepalivedConfiguration, kind: str) -> RunningKeepalived | None:
        """Return what runs before a reload; before a start, see that no keepalived of another agent does."""
        if kind == START:
            self._require_own()
        return super().preflight(configuration, kind)

    def before_reload(
        self, configuration: KeepalivedConfiguration, *, is_rollback: bool = False
    ) -> RunningKeepalived:
        """Return what runs.

        :raises ProofFailed: there is no main process.
        """
        main, vrrp = self._processes.main(), self._processes.vrrp()
        if main is None:
            raise ProofFailed("keepalived has no main process, so a reload could not be proven")
        is_foreign = vrrp is not None and self._processes.foreign() is not None
        return RunningKeepalived(main, bytes_read(vrrp.pid) if vrrp and is_foreign else None)

    def prove(self, configuration: KeepalivedConfiguration, before: RunningKeepalived | None) -> Proof:
        """Wait until keepalived reports the states of the generation that it should run.

        :raises ProofFailed: it timed out, or that process ended.
        """
        deadline = time.monotonic() + self._settings.apply_timeout
        try:
            evidence = self._proof.await_generation(self._generation, configuration, deadline, before)
        except ProofFailed as error:
            why = self.status().last_error
            raise ProofFailed(f"{error.details}\n{why}" if why else error.details) from error
        self._watchdog.guard(configuration)
        return Proof(evidence.main_pid, str(evidence))

    def commit(self) -> None:
        """Record what runs now as what a rollback returns to; an upload lent to it is there again."""
        if self.files.received.exists():
            files.rename(self.files.received, self.files.stored)
        super().commit()

    def bring_back(self, configuration: KeepalivedConfiguration, before: RunningKeepalived | None) -> str:
        """Let keepalived run the proven configuration again; where a reload does not, start it anew."""
        if self.still_runs(before):
            try:
                return super().bring_back(configuration, before)
            except OperationFailed as error:
                LOG.warning("keepalived must be started anew: %s", error)
        # It may be about to be started again over the refused configuration.
        self.end()
        return super().bring_back(configuration, before)

    def end(self) -> None:
        """End the service; no virtual address stays behind, and none is watched over any more.

        :raises OperationFailed: a process survived, or an address could not be removed.
        """
        super().end()
        self._watchdog.remove_orphans()
        self._watchdog.guard()
        self._processes.remove_stale_pid_files()

    def _prepare_start(self, configuration: KeepalivedConfiguration) -> None:
        self._await_link_local(configuration)
        self._follow(configuration)
        self._processes.remove_stale_pid_files()

    def _reload(self, configuration: KeepalivedConfiguration, before: RunningKeepalived) -> None:
        if self._processes.foreign() is not None:
            self._store_what_runs()
        # Until it is proven, orphans may be addresses of either configuration.
        self._follow(parse(files.read_if_present(self.files.proven) or b""), configuration)
        self._services.reload(self.files.service_name)

    def _store_what_runs(self) -> None:
        """Let a keepalived that reads the stored configuration itself read what should run.

        Once that is proven the upload is there again, byte for byte.
        """
        own = self.files
        if files.read_if_present(own.stored) != files.read_if_present(own.running):
            files.link(own.stored, own.received)
            files.link(own.running, own.stored)

    def _follow(self, *configurations: KeepalivedConfiguration) -> None:
        """Record the states of keepalived from now on, and guard the addresses of these configurations."""
        self._watchdog.guard(*configurations)
        self._watchdog.start()

    def _await_link_local(self, configuration: KeepalivedConfiguration) -> None:
        """Wait until adverts over IPv6 can be sent.

        While the link-local address of a port that was just plugged is tentative, keepalived sends
        nothing and yet becomes master, as its peer does.
        """
        names = {each.interface for each in configuration.instances if each.version == 6}
        deadline = time.monotonic() + _TENTATIVE_TIME
        while names and time.monotonic() < deadline:
            found = addresses_in(self._settings.namespace)
            if not any(each.tentative and each.interface in names for each in found):
                return
            time.sleep(_LOOK_INTERVAL)

    def _require_own(self) -> None:
        foreign = self._processes.foreign()
        if foreign is not None:
            # A second one must never be started.
            raise OperationFailed(
                f"another agent has started keepalived (pid {foreign.pid}), and it is not managed by this "
                f"host's process manager; it has to be stopped first"
            )

    def _roll_back_files(self) -> bool:
        is_known, self._generation = bool(self._generation_back), self._generation_back
        return is_known and self.files.roll_back()

    def _kind(self, action: str, state: ServiceState) -> str:
        return RELOAD if state is ServiceState.RUNNING else START

    def _require_for_stop(self) -> None:
        # Without a configuration it may be stopped all the same.
        if self.status().state.is_at_rest:
            try:
                self._require_own()
            except OperationFailed as error:
                raise self._failed(STOP, error) from error

    def _note_gone(self, pid: int | None) -> None:
        which = f" with PID {pid}" if pid is not None else ""
        raise VrrpWasGone("stop", f"keepalived process{which} not found")

    def _after_end(self) -> None:
        self._watchdog.remove_orphans()

    def _before_recovery(self) -> None:
        try:
            self.adopt()
        except AmphoraError as error:
            LOG.error("could not take over keepalived of another agent: %s", error)
        # A service that starts by itself would be refused because of them.
        self._processes.remove_stale_pid_files()
        if not self.status().state.is_at_rest:
            known = (files.read_if_present(path) for path in (self.files.running, self.files.proven))
            self._follow(*(parse(data) for data in known if data is not None))
            self._watchdog.remove_orphans()

    def _finish_upload(self) -> bool:
        # Whether it would be stored as uploaded or as made from the topology is not known.
        return not self.files.received.exists()

    def _foreign_pid(self) -> int | None:
        foreign = self._processes.foreign()
        return foreign.pid if foreign is not None else None

    def _not_found(self) -> VrrpNotConfigured:
        return VrrpNotConfigured()

    def _failed(self, action: str, error: AmphoraError) -> VrrpActionFailed:
        return VrrpActionFailed(action, error.details)

    def _read(self, data: bytes) -> KeepalivedConfiguration:
        return parse(data)

    def _check_overlay(self, configuration: KeepalivedConfiguration) -> bytes:
        if not configuration.instances:
            # keepalived would accept it, and do nothing.
            raise InvalidConfiguration("The configuration has no vrrp_instance, so it would hold no address")
        # Nothing follows an upload that is checked: a brace that it lacks would show as an error of ours.
        return render_overlay(self.files.staged, host.hostname(), self.files.fifo)

    def _overlay(self, configuration: KeepalivedConfiguration) -> bytes:
        # That of a rollback is written just before the one that will run.
        self._generation_back, self._generation = self._generation, new_generation()
        return render_overlay(self.files.running, host.hostname(), self.files.fifo, self._generation)

    def _spec(self) -> ServiceSpec:
        own = self.files
        return ServiceSpec(
            name=own.service_name,
            description="keepalived of the amphora (VRRP)",
            # No check before a start: keepalived's exit status is the same for remarks and for errors.
            argv=self._program.service_argv(own.overlay, own.pid_file, own.vrrp_pid_file),
            reload_signal=signal.SIGHUP,
            namespace=self._settings.namespace,
            restart=self._settings.restart,
            start_timeout=self._settings.apply_timeout,
        )
