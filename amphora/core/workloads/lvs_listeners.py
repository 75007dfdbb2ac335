# SPDX-License-Identifier: Apache-2.0
"""Use cases that change LVS listeners: those for UDP and SCTP, each served by a keepalived of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.locks import InstanceLocks
from amphora.core.changes.operations import DELETE, Change, Operations, has_touched
from amphora.core.changes.service_changes import (
    RELOAD,
    START,
    STOP,
    UPLOAD,
    delete_steps,
    forgetting_the_gone,
    stop_steps,
)
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.lvs import LvsEngine
from amphora.core.workloads.lvs_change import LvsChange, LvsUpload
from amphora.core.workloads.lvs_files import LvsDirectory, LvsLayout
from amphora.errors import AmphoraError, LvsActionFailed, LvsListenerNotFound, NotFound
from amphora.lvs.configuration import parse
from amphora.lvs.services import VirtualService
from amphora.models import Done, IPAddress, Outcome, ServiceState
from amphora.system import files

LOG = logging.getLogger(__name__)

_PROGRAM = "keepalived"


class LvsListeners:
    """Upload, start, stop, reload and delete. Each change holds the listener's lock; reading never does.

    :param operations: makes the changes and remembers them.
    :param announce: told, after each start and reload, the addresses that a listener serves.
    :param changed: called after each change, of whatever kind.
    """

    def __init__(
        self,
        directory: LvsDirectory,
        engine: LvsEngine,
        operations: Operations,
        locks: InstanceLocks,
        announce: Callable[[Iterable[IPAddress]], None] = lambda _addresses: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory = directory
        self._engine = engine
        self._operations = operations
        self._locks = locks
        self._announce = announce
        self._changed = changed
        self._uploads = SingleFlight[str]()
        self._actions = SingleFlight[Outcome]()

    def upload(self, listener_id: str, data: bytes, expected: Expected = ANYTHING) -> str:
        """Check and store a configuration. What runs is not touched. Safe to repeat.

        :returns: keepalived's own words about it.
        :raises InvalidConfiguration: keepalived's words; the former configuration stays.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises OperationFailed: it could not be checked or stored.
        """
        layout = self._directory.layout(listener_id)

        def store() -> str:
            with self._locks.hold(listener_id):
                expected.require(files.read_if_present(layout.stored))
                with forgetting_the_gone(self._operations, listener_id, lambda: not self.knows(listener_id)):
                    output = self._operations.run(LvsUpload(self._engine, layout, data))
            self._changed()
            return output

        return self._uploads.join((listener_id, data, expected), store)

    def configuration(self, listener_id: str) -> bytes:
        """Return the stored configuration, byte for byte.

        :raises LvsListenerNotFound: there is none.
        """
        data = files.read_if_present(self._directory.layout(listener_id).stored)
        if data is None:
            raise LvsListenerNotFound(listener_id)
        return data

    def knows(self, listener_id: str) -> bool:
        """Whether anything of a listener is stored, or its service is there without its files."""
        layout = self._directory.layout(listener_id)
        return layout.exists or self._engine.status(layout).state is not ServiceState.ABSENT

    def start(self, listener_id: str) -> Outcome:
        """Start a listener; one that runs is left alone. Safe to repeat.

        :returns: what was done, for people.
        :raises LvsListenerNotFound: it has no stored configuration.
        :raises LvsActionFailed: it does not run; reasons, and what was restored.
        """
        return self._actions.run(
            (listener_id, START), lambda: self._inputs(listener_id), lambda: self._start(listener_id)
        )

    def _start(self, listener_id: str) -> Outcome:
        layout = self._directory.layout(listener_id)
        with self._locks.hold(listener_id):
            data = self.configuration(listener_id)
            status = self._engine.status(layout)
            if status.state is ServiceState.RUNNING:
                return Outcome(Done.STARTED, f"{listener_id} already runs; nothing was changed")
            # One that should run is to run again with what was proven, if this configuration fails.
            kind = START if status.state.is_at_rest else RELOAD
            evidence = self._change(layout, "start", kind)
        self._after_start(data)
        return Outcome(Done.STARTED, evidence)

    def reload(self, listener_id: str) -> Outcome:
        """Restart a listener from its stored configuration; one that does not run is started.

        :returns: what was done, for people.
        :raises LvsListenerNotFound: it has no stored configuration.
        :raises LvsActionFailed: reasons, and what was restored.
        """
        return self._actions.run(
            (listener_id, RELOAD), lambda: self._inputs(listener_id), lambda: self._reload(listener_id)
        )

    def _reload(self, listener_id: str) -> Outcome:
        layout = self._directory.layout(listener_id)
        with self._locks.hold(listener_id):
            data = self.configuration(listener_id)
            at_rest = self._engine.status(layout).state.is_at_rest
            evidence = self._change(layout, "restart", START if at_rest else RELOAD)
        self._after_start(data)
        return Outcome(Done.STARTED if at_rest else Done.RELOADED, evidence)

    def stop(self, listener_id: str) -> Outcome:
        """Stop a listener; one that is stopped is left alone.

        :returns: what was done, for people.
        :raises LvsListenerNotFound: it has no stored configuration.
        :raises LvsActionFailed: a process survived.
        """
        layout = self._directory.layout(listener_id)
        with self._locks.hold(listener_id):
            self.configuration(listener_id)
            if not self._is_at_rest(layout) or layout.pid_files.main.exists():
                end = partial(self._engine.stop, layout)
                is_at_rest = partial(self._is_at_rest, layout)
                self._make("stop", stop_steps(listener_id, _PROGRAM, end, is_at_rest))
        return Outcome(Done.STOPPED, f"{listener_id} is stopped")

    def delete(self, listener_id: str, expected: Expected = ANYTHING) -> None:
        """Stop a listener and remove all of it. One that was deleted half-way is deleted wholly.

        :raises LvsListenerNotFound: nothing of it is stored, and nothing of it runs.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises LvsActionFailed: its processes could not be ended; its configuration stays.
        """
        layout = self._directory.layout(listener_id)
        with self._locks.hold(listener_id):
            if not self.knows(listener_id):
                raise LvsListenerNotFound(listener_id)
            expected.require(files.read_if_present(layout.stored))
            self._delete(layout)

    def recover(self) -> None:
        """Finish or undo what was under way when the agent ended. Called once, at start.

        What runs goes on. One listener that cannot be recovered does not keep the others from it; it is
        logged.
        """
        files.sweep_temporaries(self._directory.path)
        for layout in (*self._directory.all(), *self._directory.remnants()):
            with self._locks.hold(layout.listener_id):
                try:
                    self._recover(layout)
                except AmphoraError as error:
                    LOG.error("LVS listener %s could not be recovered: %s", layout.listener_id, error)
                    self._operations.settle_failed(layout.listener_id, error)
        self._changed()

    def _recover(self, layout: LvsLayout) -> None:
        files.sweep_temporaries(layout.directory)
        # A service that starts by itself, as after a reboot, would be refused because of them.
        layout.processes.remove_stale_pid_files()
        interrupted = self._operations.interrupted(layout.listener_id)
        if interrupted is None:
            self._engine.unstage(layout)
        elif interrupted.kind == DELETE and has_touched(interrupted):
            self._delete(layout)
            self._operations.settle(interrupted, OperationState.DONE, "nothing of it is left")
        else:
            self._operations.settle(interrupted, *self._finish(layout, interrupted))

    def _finish(self, layout: LvsLayout, interrupted: Operation) -> tuple[OperationState, str]:
        """Finish or undo a change that is no delete; return what it is now, and what is the case."""
        touched = has_touched(interrupted)
        if interrupted.kind == UPLOAD:
            # What was staged became what is stored in one instant.
            if touched and not layout.staged.exists():
                self._engine.unstage(layout)
                return OperationState.DONE, "the upload is stored"
            return OperationState.UNDONE, LvsUpload(self._engine, layout, b"").discard()
        if interrupted.kind == STOP and touched:
            self._engine.stop(layout)
            return OperationState.DONE, f"{_PROGRAM} is stopped"
        if interrupted.kind in (STOP, DELETE):
            return OperationState.UNDONE, "nothing had been changed"
        change = LvsChange(self._engine, layout, interrupted.kind, dict)
        if interrupted.last_step == "commit" and not layout.to_be_proven.exists():
            self._engine.unstage(layout)
            return OperationState.DONE, f"{_PROGRAM} runs with the new configuration"
        return OperationState.UNDONE, change.restore() if touched else change.discard()

    def _inputs(self, listener_id: str) -> object:
        """Return what a start or reload reads, as an identity: equal ones lead to the same result."""
        return files.identity(self._directory.layout(listener_id).stored)

    def _change(self, layout: LvsLayout, action: str, kind: str) -> str:
        return self._make(action, LvsChange(self._engine, layout, kind, lambda: self._served_beside(layout)))

    def _delete(self, layout: LvsLayout) -> None:
        steps = delete_steps(
            layout.listener_id,
            _PROGRAM,
            end=lambda: self._engine.remove(layout),
            remove_files=lambda: _remove_files(layout),
            is_at_rest=lambda: self._is_at_rest(layout),
            is_gone=lambda: not self.knows(layout.listener_id),
        )
        self._make("delete", steps)
        self._operations.forget(layout.listener_id)

    def _make(self, action: str, change: Change) -> str:
        try:
            return self._operations.run(change)
        except NotFound:
            raise
        except AmphoraError as error:
            raise LvsActionFailed(action, change.target, error.details) from error
        finally:
            self._changed()

    def _is_at_rest(self, layout: LvsLayout) -> bool:
        # Another agent's keepalived is no service of ours.
        return self._engine.status(layout).state.is_at_rest and layout.processes.main() is None

    def _served_beside(self, layout: LvsLayout) -> Mapping[VirtualService, str]:
        return {
            service: other.listener_id
            for other in self._directory.all()
            if other != layout and not self._engine.status(other).state.is_at_rest
            for service in parse(files.read_if_present(other.running) or b"").services
        }

    def _after_start(self, data: bytes) -> None:
        self._announce(parse(data).addresses)


def _remove_files(layout: LvsLayout) -> None:
    # The stored file last: it is what a delete that was cut off is found by.
    files.remove_tree(layout.directory)
    files.remove(layout.stored)
