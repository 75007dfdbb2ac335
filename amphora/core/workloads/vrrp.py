# SPDX-License-Identifier: Apache-2.0
"""VRRP: configure and run the keepalived that moves virtual addresses between two amphorae."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.locks import KEEPALIVED, InstanceLocks
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps, has_touched
from amphora.core.changes.service_changes import (
    RELOAD,
    START,
    STOP,
    UPLOAD,
    already_in_effect,
    discard_upload,
    make_again,
)
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.vrrp_change import VrrpActivation
from amphora.core.workloads.vrrp_engine import VrrpEngine
from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.errors import (
    AmphoraError,
    ChangeFailed,
    OperationFailed,
    VrrpActionFailed,
    VrrpNotConfigured,
    VrrpWasGone,
)
from amphora.keepalived.configuration import parse
from amphora.models import Done, Outcome, Role, ServiceState
from amphora.system import files, processes

LOG = logging.getLogger(__name__)


class Vrrp:
    """The one keepalived of this amphora.

    :param install_scripts: writes the scripts that configurations refer to; called before one is checked,
        as keepalived refuses a configuration whose script is missing.
    """

    def __init__(
        self,
        layout: VrrpLayout,
        engine: VrrpEngine,
        locks: InstanceLocks,
        operations: Operations,
        install_scripts: Callable[[], None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._install_scripts = install_scripts
        self._engine = engine
        self._locks = locks
        self._operations = operations
        self._uploads = SingleFlight[str]()
        self._actions = SingleFlight[Outcome]()

    def upload(self, data: bytes, expected: Expected = ANYTHING) -> str:
        """Store a configuration of the controller's, once keepalived accepts it. Safe to repeat.

        It takes effect with the next start or reload; what runs is not touched.

        :returns: keepalived's words.
        :raises InvalidConfiguration: keepalived's words; the one stored so far stays.
        :raises PreconditionFailed: the one stored so far is not the expected one.
        :raises OperationFailed: it could not be checked or stored.
        """
        return self._store(data, self._layout.stored, expected)

    def set_default(self, data: bytes | None) -> str:
        """Store the configuration that counts while the controller has uploaded none; None removes it.

        It takes effect with the next start or reload. Safe to repeat.

        :returns: keepalived's words.
        :raises InvalidConfiguration: keepalived's words; the one stored so far stays.
        :raises OperationFailed: it could not be checked or stored.
        """
        if data is not None:
            return self._store(data, self._layout.rendered)
        with self._locks.hold(KEEPALIVED):
            files.remove(self._layout.rendered)
            # One that failed and could not be undone has left what it staged.
            self._engine.unstage()
            return ""

    def configuration(self) -> bytes:
        """Return the stored configuration that the next start or reload takes, byte for byte.

        :raises VrrpNotConfigured: there is none.
        """
        for path in (self._layout.stored, self._layout.rendered):
            data = files.read_if_present(path)
            if data is not None:
                return data
        raise VrrpNotConfigured

    def start(self) -> Outcome:
        """Start keepalived; one that runs is reloaded. Safe to repeat.

        :returns: what was done, for people.
        :raises VrrpNotConfigured: no configuration is stored.
        :raises VrrpActionFailed: reasons, and what was restored.
        """
        return self._actions.run(START, self._inputs, lambda: self._start_or_reload(START))

    def reload(self) -> Outcome:
        """Reload keepalived from its stored configuration; one that does not run is started.

        :returns: what was done, for people.
        :raises VrrpNotConfigured: no configuration is stored.
        :raises VrrpActionFailed: reasons, and what was restored.
        """
        return self._actions.run(RELOAD, self._inputs, lambda: self._start_or_reload(RELOAD))

    def stop(self) -> Outcome:
        """Stop keepalived; one that is stopped is left alone. No virtual address stays behind.

        :returns: what was done, for people.
        :raises VrrpWasGone: it should have run and did not; the state is clean afterwards, so that a
            second stop succeeds.
        :raises VrrpActionFailed: a process or an address survived.
        """
        with self._locks.hold(KEEPALIVED):
            status = self._engine.status()
            if status.state.is_at_rest:
                self._require_own()
                return Outcome(Done.STOPPED, "keepalived is already stopped; nothing was changed")
            pid = status.pid or processes.read_pid_file(self._layout.pid_file)
            try:
                self._operations.run(
                    Steps(
                        STOP,
                        KEEPALIVED,
                        apply=self._engine.stop,
                        commit=self._engine.remove_stale_pid_files,
                        restore=self._undo_stop,
                    )
                )
            except ChangeFailed as error:
                raise VrrpActionFailed("stop", error.details) from error
            if status.pid is None:
                which = f" with PID {pid}" if pid is not None else ""
                raise VrrpWasGone("stop", f"keepalived process{which} not found")
            return Outcome(Done.STOPPED, f"keepalived stopped (pid {status.pid})")

    def role(self) -> Role:
        """Return what this node is now, by what the running keepalived has told. Reads memory only."""
        return self._engine.role()

    def recover(self) -> None:
        """Put in order what the last agent left. Called once, after the process manager has taken over.

        A keepalived that runs is followed from here on. Of one that should run and does not, the virtual
        addresses are taken away at once.

        :raises AmphoraError: something could not be put in order; all that can be is.
        """
        layout = self._layout
        if not layout.directory.is_dir():
            return
        with self._locks.hold(KEEPALIVED):
            files.sweep_temporaries(layout.directory)
            self._take_over()
            # A service that starts by itself would be refused because of them.
            self._engine.remove_stale_pid_files()
            if not self._engine.status().state.is_at_rest:
                known = (files.read_if_present(path) for path in (layout.running, layout.proven))
                self._engine.follow(*(parse(data) for data in known if data is not None))
                self._engine.remove_orphans()
            self._settle()

    def close(self) -> None:
        """Let go of keepalived, which goes on. Called once, last."""
        self._engine.close()

    def _take_over(self) -> None:
        try:
            self._engine.adopt()
        except AmphoraError as error:
            LOG.error("keepalived of another agent could not be taken over: %s", error)

    def _require_own(self) -> None:
        try:
            self._engine.require_own()
        except OperationFailed as error:
            raise VrrpActionFailed("stop", error.details) from error

    def _inputs(self) -> object:
        """Return what a start or reload reads, as an identity: equal ones lead to the same result."""
        return tuple(files.identity(path) for path in (self._layout.stored, self._layout.rendered))

    def _store(self, data: bytes, path: Path, expected: Expected = ANYTHING) -> str:
        def store() -> str:
            with self._locks.hold(KEEPALIVED):
                expected.require(files.read_if_present(path))
                return self._upload(data, path)

        return self._uploads.join((path, data, expected), store)

    def _upload(self, data: bytes, path: Path) -> str:
        output: list[str] = []
        steps = Steps(
            UPLOAD,
            KEEPALIVED,
            stage=lambda: self._stage(data),
            check=lambda: output.append(self._engine.check()),
            swap=lambda: files.rename(self._layout.received, path),
            commit=self._engine.unstage,
            discard=lambda: self._discard_upload(path),
            restore=lambda: self._undo_upload(path),
        )
        self._operations.run(steps)
        return output[0]

    def _stage(self, data: bytes) -> None:
        self._install_scripts()
        self._engine.stage(data)
        files.write_atomically(self._layout.received, data)

    def _discard_upload(self, path: Path) -> str:
        return discard_upload(path, self._layout.directory, self._engine.unstage)

    def _undo_upload(self, path: Path) -> str:
        if self._layout.received.exists():
            return self._discard_upload(path)
        raise already_in_effect(KEEPALIVED, self._engine.unstage, "it is stored")

    def _undo_stop(self) -> str:
        if self._engine.status().state.is_at_rest:
            self._engine.remove_orphans()
            raise AlreadyInEffect("keepalived is stopped")
        return "keepalived goes on as it was."

    def _start_or_reload(self, action: str) -> Outcome:
        with self._locks.hold(KEEPALIVED):
            data = self.configuration()
            runs = self._engine.status().state is ServiceState.RUNNING
            change = VrrpActivation(self._engine, self._layout, RELOAD if runs else START, data)
            try:
                self._operations.run(change)
            except ChangeFailed as error:
                raise VrrpActionFailed(action, error.details) from error
            pid = change.evidence.main_pid
            if runs:
                return Outcome(Done.RELOADED, f"keepalived reloaded (pid {pid})")
            return Outcome(Done.STARTED, f"keepalived started (pid {pid})")

    def _settle(self) -> None:
        """Finish or undo what was under way when the agent was killed. Safe to repeat."""
        interrupted = self._operations.interrupted(KEEPALIVED)
        if interrupted is None or interrupted.kind == UPLOAD or not has_touched(interrupted):
            # What was received became what is stored in one instant.
            is_stored = (
                interrupted is not None and has_touched(interrupted) and not self._layout.received.exists()
            )
            self._engine.unstage()
            if interrupted is not None and is_stored:
                self._operations.settle(interrupted, OperationState.DONE, "the upload is stored")
            elif interrupted is not None:
                self._operations.settle(interrupted, OperationState.UNDONE, "nothing had been changed")
            return
        self._operations.settle(interrupted, *self._finish(interrupted))

    def _finish(self, interrupted: Operation) -> tuple[OperationState, str]:
        if interrupted.kind == STOP:
            self._engine.stop()
            return OperationState.DONE, "keepalived is stopped"
        data = self.configuration()
        if self._engine.status().state.is_at_rest:
            return OperationState.UNDONE, VrrpActivation(self._engine, self._layout, START, data).restore()
        # What a further failure goes back to is the proven configuration, not the one that was cut off.
        self._engine.restore_files()
        self._engine.unstage()
        again = VrrpActivation(self._engine, self._layout, RELOAD, data)
        return make_again(self._operations, interrupted, again, data, self._layout.proven)
