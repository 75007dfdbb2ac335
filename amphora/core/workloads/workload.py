# SPDX-License-Identifier: Apache-2.0
"""A workload: a program that serves traffic from one uploaded configuration. Its use cases and recovery."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import (
    DELETE,
    AlreadyInEffect,
    Change,
    Operations,
    Steps,
    has_touched,
)
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD, drop_journal_if_deleted
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.changes import NOTHING_BESIDE, Activation, Upload
from amphora.core.workloads.files import WorkloadFiles
from amphora.core.workloads.steps import B, C, WorkloadSteps
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import AmphoraError, InvalidConfiguration, OperationFailed
from amphora.models import ActionKind, ActionResult, IPAddress, ServiceState
from amphora.system import files, processes

LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkloadContext:
    """What all workloads that run on one program share.

    :ivar announce: called after each start and reload with the addresses that the workload serves.
    :ivar on_change: called after each start, reload, stop and delete, and once after a recovery. None fails.
    """

    services: ProcessManager
    operations: Operations
    locks: InstanceLocks
    announce: Callable[[Iterable[IPAddress]], None] = lambda _addresses: None
    on_change: tuple[Callable[[], None], ...] = ()
    uploads: SingleFlight[str] = field(default_factory=SingleFlight[str])
    actions: SingleFlight[ActionResult] = field(default_factory=SingleFlight[ActionResult])

    def changed(self) -> None:
        """Let others follow a change. Never fails."""
        for follow in self.on_change:
            follow()


class Workload(WorkloadSteps[C, B]):
    """Upload, start, reload and stop. Each change holds the workload's lock; reading never does.

    A caller that asks for what is under way already gets its result.
    """

    #: Whether a start of one that runs changes nothing.
    leaves_running_alone: ClassVar[bool] = True
    #: Whether its files say what is wanted while it is stopped, too.
    is_compared_at_rest: ClassVar[bool] = False
    #: Whether a reload ends the service on its way.
    ends_over_reload: ClassVar[bool] = False

    def __init__(self, own_files: WorkloadFiles, context: WorkloadContext) -> None:
        super().__init__(own_files, context.services)
        self._context = context
        self._operations = context.operations

    @property
    def exists(self) -> bool:
        """Whether anything of it is stored, or its service is there without its files."""
        return self.files.exists or self.status().state is not ServiceState.ABSENT

    @property
    def actions(self) -> dict[str, Callable[[], ActionResult]]:
        """What can be done to it, by verb."""
        return {START: self.start, STOP: self.stop, RELOAD: self.reload}

    @abstractmethod
    def upload(self, data: bytes) -> str:
        """Check and store a configuration; return the output of its program."""

    def store_again(self, data: bytes) -> str:
        """Store a configuration that was proven before; return the output of its program."""
        return self.upload(data)

    def start(self) -> ActionResult:
        """Start it; one that runs is left alone or, for keepalived's VRRP, reloaded. Safe to repeat.

        :raises NotFound: it has no stored configuration.
        :raises OperationFailed: it does not run; reasons, and the state after the rollback.
        """
        return self._context.actions.run((self.id, START), self._inputs, lambda: self._activate(START))

    def reload(self) -> ActionResult:
        """Reload it from its stored configuration; one that does not run is started.

        Callers that ask while a reload from the same files is under way get its result; all that ask while
        one from older files is, share the next.

        :raises NotFound: it has no stored configuration.
        :raises OperationFailed: what ran before runs on; reasons, and the state after the rollback.
        """
        return self._context.actions.run((self.id, RELOAD), self._inputs, lambda: self._activate(RELOAD))

    def stop(self) -> ActionResult:
        """Stop it; one that is stopped is left alone.

        :raises NotFound: it has no stored configuration.
        :raises OperationFailed: a process survived, or it should have run and did not; in that case the state
            is clean afterwards, so that a second stop succeeds.
        """
        with self._context.locks.hold(self.id):
            self._require_for_stop()
            status = self.status()
            if self._is_stopped():
                return ActionResult(ActionKind.STOPPED, is_unchanged=True)
            pid = status.pid or processes.read_pid_file(self.files.pid_file)
            self._run(Steps(STOP, self.id, apply=self.end, restore=self._undo_stop), STOP)
            if status.pid is None:
                self._note_gone(pid)
            return ActionResult(ActionKind.STOPPED, status.pid)

    def recover(self) -> None:
        """Finish or undo what was under way when the agent ended. Called once, at start; safe to repeat.

        What runs goes on meanwhile. A change that had touched nothing is forgotten. A service that should run
        is reloaded from the stored configuration or, where that cannot be proven, from the proven one. A
        stopped one stays stopped.

        :raises AmphoraError: it could be neither finished nor undone.
        """
        with self._context.locks.hold(self.id):
            files.sweep_temporaries(self.files.directory)
            self._before_recovery()
            interrupted = self._operations.interrupted(self.id)
            if interrupted is None:
                self.unstage()
                return
            with drop_journal_if_deleted(self._operations, self.id, lambda: not self.exists):
                self._operations.settle(interrupted, *self._settle(interrupted))

    def adopt(self) -> None:
        """Make a service of ours of a process that another agent started; it is not touched. Safe to repeat.

        :raises OperationFailed: this host's process manager does not know it; it is left alone.
        :raises InvalidConfiguration: what is stored cannot be read.
        """
        pid = self._foreign_pid()
        if pid is None or self.status().state is not ServiceState.ABSENT:
            return
        self.take_files_over(files.read_if_present(self.files.stored) or b"")
        self._services.install(self._spec())
        if self.status().pid != pid:
            self._services.remove(self.files.service_name)
            for path in (self.files.running, self.files.proven, self.files.overlay):
                files.remove(path)
            raise OperationFailed(
                f"{self.program_name} (pid {pid}) is not managed by this host's process manager"
            )
        LOG.warning("took over the %s of %s, process %s, which goes on", self.program_name, self.id, pid)

    def _store(
        self,
        data: bytes,
        expected: Expected,
        path: Path | None = None,
        beside: Mapping[Path, bytes] = NOTHING_BESIDE,
    ) -> str:
        where = path or self.files.stored

        def store() -> str:
            with self._context.locks.hold(self.id):
                expected.require(files.read_if_present(where))
                with drop_journal_if_deleted(self._operations, self.id, lambda: not self.exists):
                    return self._operations.run(Upload(self, data, where, beside)).strip()

        key: Hashable = (self.id, where, tuple(beside.values()), data, expected)
        return self._context.uploads.join(key, store)

    def _activate(self, action: str) -> ActionResult:
        with self._context.locks.hold(self.id):
            self.configuration()
            status = self.status()
            runs = status.state is ServiceState.RUNNING
            if action == START and runs and self.leaves_running_alone:
                return ActionResult(ActionKind.STARTED, status.pid, is_unchanged=True)
            activation = Activation(self, self._kind(action, status.state))
            self._run(activation, self._verb(action, activation.kind))
            self._context.announce(self._addresses(activation.configuration))
            kind = ActionKind.RELOADED if runs else ActionKind.STARTED
            return ActionResult(kind, activation.proof.pid, activation.proof.evidence)

    def _run(self, change: Change, action: str) -> None:
        try:
            self._operations.run(change)
        except (OperationFailed, InvalidConfiguration) as error:
            raise self._failed(action, error) from error
        finally:
            self._context.changed()

    def _inputs(self) -> Hashable:
        """Return what a start or reload reads, as an identity: equal ones lead to the same result."""
        return tuple(files.identity(path) for path in self.files.sources)

    def _settle(self, interrupted: Operation) -> tuple[OperationState, str]:
        """Finish or undo an interrupted change; return its final state and a summary."""
        is_touched = has_touched(interrupted)
        if interrupted.kind == UPLOAD:
            return self._settle_upload(is_touched)
        if interrupted.kind in (START, RELOAD):
            return self._settle_activation(interrupted) if is_touched else self._settle_untouched(interrupted)
        self.unstage()
        if not is_touched:
            return OperationState.UNDONE, "nothing had been changed"
        self.end()
        return OperationState.DONE, f"{self.program_name} is stopped"

    def _settle_upload(self, is_touched: bool) -> tuple[OperationState, str]:
        if is_touched and self._finish_upload():
            self.unstage()
            return OperationState.DONE, "the upload is stored"
        return OperationState.UNDONE, self.files.discard_upload(self.files.stored)

    def _settle_untouched(self, _interrupted: Operation) -> tuple[OperationState, str]:
        self.unstage()
        return OperationState.UNDONE, "nothing had been changed"

    def _settle_activation(self, interrupted: Operation) -> tuple[OperationState, str]:
        if interrupted.last_step == "commit" and not self.files.to_be_proven.exists():
            self.commit()
            return OperationState.DONE, f"{self.program_name} runs with the new configuration"
        if self.status().state.is_at_rest:
            kind = interrupted.kind if self.ends_over_reload else START
            return OperationState.UNDONE, Activation(self, kind).restore()
        # What a further failure goes back to is the proven configuration, not the one that was cut off.
        self.restore_files()
        self.unstage()
        # One whose rollback failed may have had the proven configuration stored again all the same. Then that
        # is what is loaded here, and the change is undone.
        is_proven = self.stored_configuration() == files.read_if_present(self.files.proven)
        is_back = interrupted.last_step == "restore" and is_proven
        again = Activation(self, RELOAD, ran_before=interrupted.kind == RELOAD)
        state, summary = self._operations.finish(again)
        return OperationState.UNDONE if is_back else state, summary

    def _undo_stop(self) -> str:
        if self._is_at_rest():
            self._after_end()
            raise AlreadyInEffect(f"{self.program_name} is stopped")
        return f"{self.program_name} goes on as it was."

    def _is_at_rest(self) -> bool:
        status = self.status()
        return status.state.is_at_rest and status.pid is None

    def _is_stopped(self) -> bool:
        """Whether a stop has nothing to do."""
        return self._is_at_rest()

    def _kind(self, action: str, state: ServiceState) -> str:
        # After a failure, one that should run does not stay stopped.
        return RELOAD if action == RELOAD and not state.is_at_rest else START

    def _verb(self, action: str, kind: str) -> str:
        """Return what a start or reload that fails is called."""
        return action

    def _require_for_stop(self) -> None:
        self.configuration()

    def _note_gone(self, pid: int | None) -> None:
        """Report that what should be stopped did not run; pid: what it had, if that is known."""

    def _after_end(self) -> None:
        """Clean up after a process that has ended."""

    def _before_recovery(self) -> None:
        """Put in order what the end of an agent, or a boot, may have left."""

    def _finish_upload(self) -> bool:
        """Store what was received; return whether it is stored."""
        if self.files.received.exists():
            self.files.store_received(self.files.stored)
        return True

    def _foreign_pid(self) -> int | None:
        """Return the process that another agent has started for this, or None."""
        return None

    def take_files_over(self, data: bytes) -> None:
        """Write what a service would have left that runs from a configuration."""
        as_run = self.as_run(data)
        self.files.write(self.files.overlay, self._overlay(self._read(as_run)))
        self.files.write(self.files.running, as_run)
        self.files.write(self.files.proven, data)

    def _addresses(self, configuration: C) -> Iterable[IPAddress]:
        """Return the addresses that a configuration serves."""
        return ()

    @abstractmethod
    def _failed(self, action: str, error: AmphoraError) -> OperationFailed:
        """Return the error of this kind of workload for an action that failed."""


class DeletableWorkload(Workload[C, B]):
    """One of many, which comes with its first upload and goes with its deletion."""

    def delete(self, expected: Expected = ANYTHING) -> None:
        """Stop it and remove all of it. One that was deleted half-way is deleted wholly.

        :raises NotFound: nothing of it is stored, and nothing of it runs.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises OperationFailed: its processes could not be ended; its configuration stays.
        """
        with self._context.locks.hold(self.id):
            if not self.exists:
                raise self._not_found()
            expected.require(files.read_if_present(self.files.stored))
            self._delete()

    def _delete(self) -> None:
        steps = Steps(
            DELETE, self.id, apply=self._remove_service, commit=self._remove_files, restore=self._undo_delete
        )
        self._run(steps, DELETE)
        for target in self._targets():
            self._operations.forget(target)

    def _targets(self) -> Iterable[str]:
        """Return what its changes are journalled under."""
        return (self.id,)

    def _remove_service(self) -> None:
        self._services.remove(self.files.service_name)

    @abstractmethod
    def _remove_files(self) -> None:
        """Remove every file of it."""

    def _undo_delete(self) -> str:
        if not self.exists:
            raise AlreadyInEffect("nothing of it is left")
        if self._is_at_rest():
            # What has ended is not started again because something else of it has not.
            raise OperationFailed(f"{self.program_name} has ended, but files of {self.id} are left")
        return f"{self.program_name} goes on as it was."

    def _settle(self, interrupted: Operation) -> tuple[OperationState, str]:
        if interrupted.kind == DELETE and has_touched(interrupted):
            self._delete()
            return OperationState.DONE, "nothing of it is left"
        return super()._settle(interrupted)
