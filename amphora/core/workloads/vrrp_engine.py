# SPDX-License-Identifier: Apache-2.0
"""The steps of a change to the running keepalived; :mod:`amphora.core.workloads.vrrp` owns their order."""

from __future__ import annotations

import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import InvalidConfiguration, OperationFailed, ProofFailed
from amphora.keepalived.configuration import KeepalivedConfiguration, parse
from amphora.keepalived.overlay import render_overlay, with_known_words
from amphora.keepalived.processes import KeepalivedProcesses
from amphora.keepalived.program import KeepalivedProgram
from amphora.keepalived.proof import (
    KeepalivedEvidence,
    KeepalivedProof,
    RunningKeepalived,
    new_generation,
)
from amphora.keepalived.state import VrrpStates
from amphora.keepalived.watchdog import Watchdog
from amphora.models import RestartPolicy, Role, ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files, host
from amphora.system.addresses import addresses_in
from amphora.system.processes import bytes_read

LOG = logging.getLogger(__name__)

#: Seconds that duplicate address detection may take (it is about 1 s, RFC 4862), and between two looks.
_TENTATIVE_TIME = 4.0
_LOOK_INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class VrrpSettings:
    """What the engine needs to know of this amphora.

    :ivar namespace: network namespace of tenant traffic; empty means the agent's own.
    :ivar apply_timeout: seconds from an action to its proof.
    :ivar restart: what happens when keepalived ends by itself.
    """

    namespace: str
    apply_timeout: float
    restart: RestartPolicy = RestartPolicy()


@dataclass(frozen=True, slots=True)
class Generations:
    """What the next two overlays tell keepalived's states to be of: that of a change, and of its undoing."""

    next: str
    back: str


class VrrpEngine:
    """Checks, runs and proves configurations of keepalived, and knows what it is doing."""

    def __init__(
        self, layout: VrrpLayout, program: KeepalivedProgram, services: ProcessManager, settings: VrrpSettings
    ) -> None:
        self._layout = layout
        self._program = program
        self._services = services
        self._settings = settings
        self._processes = KeepalivedProcesses(
            layout.pid_file, layout.vrrp_pid_file, layout.overlay, of_others=layout.stored
        )
        self._states = VrrpStates(layout.states)
        self._watchdog = Watchdog(self._processes, self._states, layout.fifo, settings.namespace)
        self._proof = KeepalivedProof(self._processes, self._states, settings.namespace)

    def stage(self, data: bytes) -> KeepalivedConfiguration:
        """Write a configuration, and our overlay for it, beside the live ones.

        :returns: the configuration as read.
        :raises InvalidConfiguration: why it is of no use.
        :raises OperationFailed: keepalived could not be given a file at this path.
        """
        configuration = parse(data)
        if not configuration.instances:
            # keepalived would accept it, and do nothing.
            raise InvalidConfiguration("The configuration has no vrrp_instance, so it would hold no address")
        layout = self._layout
        files.ensure_directory(layout.directory)
        files.write_atomically(layout.staged, with_known_words(data))
        files.write_atomically(layout.staged_overlay, self._overlay(layout.staged))
        return configuration

    def check(self) -> str:
        """Let keepalived check what is staged, and return its own words.

        :raises InvalidConfiguration: keepalived's output.
        """
        layout = self._layout
        names = {str(layout.staged): layout.stored.name, str(layout.staged_overlay): layout.overlay.name}
        return self._program.check(layout.staged_overlay, namespace=self._settings.namespace, names=names)

    def unstage(self) -> None:
        """Forget everything that is there only while a change is under way. Safe to repeat."""
        for path in self._layout.transient:
            files.remove(path)

    def stage_swap(self, data: bytes) -> Generations:
        """Write all that swapping and going back will need, so that neither needs room on the disk."""
        layout = self._layout
        generations = Generations(new_generation(), new_generation())
        for path, generation in (
            (layout.next_overlay, generations.next),
            (layout.overlay_back, generations.back),
        ):
            files.write_atomically(path, self._overlay(layout.running, generation))
        files.write_atomically(layout.to_be_proven, data)
        proven = files.read_if_present(layout.proven)
        if proven is not None:
            files.write_atomically(layout.former, with_known_words(proven))
            files.write_atomically(layout.stored_back, proven)
        return generations

    def swap(self) -> None:
        """Make the staged configuration the one that keepalived reads next."""
        files.rename(self._layout.staged, self._layout.running)
        files.remove(self._layout.staged_overlay)
        files.rename(self._layout.next_overlay, self._layout.overlay)

    def keep(self) -> None:
        """Make what runs now what :meth:`restore_files` goes back to from now on."""
        files.rename(self._layout.to_be_proven, self._layout.proven)
        if self._layout.received.exists():
            files.rename(self._layout.received, self._layout.stored)
        self.unstage()

    def restore_files(
        self, generations: Generations | None = None
    ) -> tuple[KeepalivedConfiguration, str] | None:
        """Make the proven configuration the one that keepalived reads next; None if none was ever proven.

        :param generations: of :meth:`stage_swap`, unless the agent ended since.
        """
        layout = self._layout
        proven = files.read_if_present(layout.proven)
        if proven is None:
            files.remove(layout.running)
            return None
        if generations is not None and layout.former.exists() and layout.overlay_back.exists():
            files.rename(layout.former, layout.running)
            files.rename(layout.overlay_back, layout.overlay)
            return parse(proven), generations.back
        files.write_atomically(layout.running, with_known_words(proven))
        generation = new_generation()
        files.write_atomically(layout.overlay, self._overlay(layout.running, generation))
        return parse(proven), generation

    def start(self, configuration: KeepalivedConfiguration, generation: str) -> KeepalivedEvidence:
        """Start the service and prove that it has taken up a generation.

        :raises OperationFailed: it did not start, or could not be proven in time.
        """
        self.act_start(configuration)
        return self.prove(configuration, generation)

    def act_start(self, configuration: KeepalivedConfiguration) -> None:
        """Start the service.

        :raises OperationFailed: it did not start.
        """
        self._await_link_local(configuration)
        self.follow(configuration)
        # After a crash it may be started again over the former files at this very moment.
        self._services.stop(self._layout.service_name)
        self._processes.remove_stale_pid_files()
        self._services.install(self._spec())
        self._services.start(self._layout.service_name)

    def reload(self, configuration: KeepalivedConfiguration, generation: str) -> KeepalivedEvidence:
        """Reload the service and prove that the same main process has taken up a generation.

        :raises OperationFailed: it was refused, keepalived ended over it, or it could not be proven in time.
        """
        before = self.before_reload()
        self.act_reload(configuration)
        return self.prove(configuration, generation, before)

    def require_own(self) -> None:
        """Return if no keepalived of another agent runs; where there is one, a second must never be started.

        :raises OperationFailed: it has to be stopped first.
        """
        foreign = self._processes.foreign()
        if foreign is not None:
            raise OperationFailed(
                f"another agent has started keepalived (pid {foreign.pid}), and it is none of this machine's "
                f"services; it has to be stopped first"
            )

    def before_reload(self) -> RunningKeepalived:
        """Return what runs, to be told from what runs afterwards.

        :raises ProofFailed: there is no main process.
        """
        main, vrrp = self._processes.main(), self._processes.vrrp()
        if main is None:
            raise ProofFailed("keepalived has no main process, so a reload could not be proven")
        is_foreign = vrrp is not None and self._processes.foreign() is not None
        return RunningKeepalived(main, bytes_read(vrrp.pid) if vrrp and is_foreign else None)

    def act_reload(self, configuration: KeepalivedConfiguration) -> None:
        """Reload the service.

        :raises ServiceError: it does not run.
        """
        if self._processes.foreign() is not None:
            self._store_what_runs()
        # Until it is proven, orphans may be addresses of either configuration.
        self.follow(parse(files.read_if_present(self._layout.proven) or b""), configuration)
        self._services.reload(self._layout.service_name)

    def prove(
        self,
        configuration: KeepalivedConfiguration,
        generation: str,
        before: RunningKeepalived | None = None,
    ) -> KeepalivedEvidence:
        """Wait until keepalived tells the states of a generation.

        :param before: what was reloaded; None after a start.
        :raises ProofFailed: it does not in time, or that process ended.
        """
        try:
            evidence = self._proof.await_generation(generation, configuration, self._deadline(), before)
        except ProofFailed as error:
            why = self.status().last_error
            raise ProofFailed(f"{error.details}\n{why}" if why else error.details) from error
        self._watchdog.guard(configuration)
        return evidence

    def adopt(self) -> None:
        """Make a service of ours of a keepalived that another agent started; it is not touched.

        Safe to repeat, and without effect where there is none.

        :raises OperationFailed: this machine's process manager does not know it; it is left alone.
        :raises InvalidConfiguration: what is stored cannot be read.
        """
        layout, foreign = self._layout, self._processes.foreign()
        if foreign is None or self.status().state is not ServiceState.ABSENT:
            return
        data = files.read_if_present(layout.stored) or b""
        parse(data)
        files.write_atomically(layout.overlay, self._overlay(layout.running, new_generation()))
        files.write_atomically(layout.running, with_known_words(data))
        files.write_atomically(layout.proven, data)
        self._services.install(self._spec())
        if self.status().pid != foreign.pid:
            self._services.remove(layout.service_name)
            for path in (layout.running, layout.proven, layout.overlay):
                files.remove(path)
            raise OperationFailed(f"keepalived (pid {foreign.pid}) is none of this machine's services")
        LOG.warning("took over keepalived, process %s, which goes on", foreign.pid)

    def stop(self) -> None:
        """End the service; no virtual address stays behind, and none is watched over any more.

        :raises OperationFailed: a process survived, or an address could not be removed.
        """
        self._services.stop(self._layout.service_name)
        self._watchdog.remove_orphans()
        self._watchdog.guard()

    def follow(self, *configurations: KeepalivedConfiguration) -> None:
        """Record the states of keepalived from now on, and guard the addresses of these configurations."""
        self._watchdog.guard(*configurations)
        self._watchdog.start()

    def remove_orphans(self) -> None:
        """Take the guarded addresses away if no keepalived holds them. Safe to repeat.

        :raises OperationFailed: one is still there.
        """
        self._watchdog.remove_orphans()

    def remove_stale_pid_files(self) -> None:
        """Let keepalived start although a pid file names a process that is not it. Safe to repeat."""
        self._processes.remove_stale_pid_files()

    def status(self) -> ServiceStatus:
        """Return what the service is doing now. Never forks, never waits for a change."""
        return self._services.status(self._layout.service_name)

    def role(self) -> Role:
        """Return what keepalived is now, from memory."""
        return self._states.role()

    def close(self) -> None:
        """Let go of keepalived, which goes on."""
        self._watchdog.close()

    def _overlay(self, included: Path, generation: str = "") -> bytes:
        # Nothing follows an upload that is checked: a brace that it lacks would show as an error of ours.
        return render_overlay(included, host.hostname(), self._layout.fifo, generation)

    def _store_what_runs(self) -> None:
        """Let a keepalived that reads the stored configuration itself read what is to run.

        Once that is proven the upload is there again, byte for byte.
        """
        layout = self._layout
        if files.read_if_present(layout.stored) != files.read_if_present(layout.running):
            files.link(layout.stored, layout.received)
            files.link(layout.running, layout.stored)

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

    def _spec(self) -> ServiceSpec:
        layout = self._layout
        return ServiceSpec(
            name=layout.service_name,
            description="keepalived of the amphora (VRRP)",
            # No check before a start: keepalived's exit status does not tell remarks from errors.
            argv=self._program.service_argv(layout.overlay, layout.pid_file, layout.vrrp_pid_file),
            reload_signal=signal.SIGHUP,
            namespace=self._settings.namespace,
            restart=self._settings.restart,
            start_timeout=self._settings.apply_timeout,
        )

    def _deadline(self) -> float:
        return time.monotonic() + self._settings.apply_timeout
