# SPDX-License-Identifier: Apache-2.0
"""The one way in which a live service is changed: stage, check, preflight, swap, apply, prove, commit.

After a failure what was running is restored, and the answer says so. Every step is in the journal before
it begins and has a time limit, so neither a crash nor a driver that hangs leaves the state unknown. A step
that a change does not have costs nothing: no thread, and no line in the journal.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Protocol

from amphora.core.changes.call_with_timeout import CallWithTimeout
from amphora.core.changes.journal import Journal, Operation, OperationState, StepRecord
from amphora.errors import (
    ChangeFailed,
    InterfaceConflict,
    InvalidInput,
    NotFound,
    OperationNotFound,
    StepTimeout,
    StorageError,
)

LOG = logging.getLogger(__name__)

Step = Callable[[], object]

_Note = Callable[[Operation, Mapping[str, object]], None]

#: The kind of those changes that leave nothing of their target.
DELETE = "delete"

#: Operations that are remembered; the last of each target is in its journal besides.
_REMEMBERED = 200

#: Seconds more that a step which is over its time limit is waited for before anything else is done.
_GRACE = 10.0


class AlreadyInEffect(Exception):
    """Raised by :meth:`Change.restore`: the change is fully in effect; report it as done, do not roll back.

    :param outcome: the state that was reached, for people.
    """


#: The steps of a change, in their order: nothing live is touched before ``swap``; and those that undo them.
BEFORE_SWAP = ("stage", "check", "preflight")
FROM_SWAP = ("swap", "apply", "prove", "commit")
UNDOING = ("discard", "restore")


class Change(Protocol):
    """One change: up to seven steps, taken in this order, each at most once, and two that undo them.

    It has a method for each step that it consists of:

    ``stage``
        Writes everything that is needed beside what is live. Whatever needs room on a disk belongs here.
    ``check``
        Lets the program that will read it check what is staged; may return that program's output.
    ``preflight``
        Finds out, without touching anything, what would keep it from running.
    ``swap``
        Makes the staged files the live ones. Until here nothing live is touched.
    ``apply``
        Makes the running service load them.
    ``prove``
        Checks in what runs that it has, and returns the evidence for people.
    ``commit``
        Records what was proven as what a later rollback returns to.
    """

    @property
    def kind(self) -> str:
        """What is done, such as ``reload``."""

    @property
    def target(self) -> str:
        """What it is done to, such as an instance's id."""

    @property
    def limits(self) -> Mapping[str, float]:
        """Seconds that a step may take, by its name, where the default will not do."""

    def discard(self) -> str:
        """Remove what is staged; return the state after that. Safe to repeat."""

    def restore(self) -> str:
        """Bring back what was running, prove that, and return the state after that. Safe to repeat.

        :raises AlreadyInEffect: nothing is left to do, and going back is not possible or not wanted.
        """


class RepeatedChange(Change, Protocol):
    """A change that may be made again after the end of an agent cut it off."""

    @property
    def has_swapped(self) -> bool:
        """Whether something live was touched."""


def _as_before() -> str:
    return "Nothing was changed."


@dataclass(frozen=True, slots=True)
class Steps:
    """A :class:`Change` put together from functions of its use case."""

    kind: str
    target: str
    stage: Step | None = None
    check: Step | None = None
    preflight: Step | None = None
    swap: Step | None = None
    apply: Step | None = None
    prove: Callable[[], str] | None = None
    commit: Step | None = None
    discard: Callable[[], str] = _as_before
    restore: Callable[[], str] = _as_before
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))


#: Told as they are: what the caller sent, named or is in the way of.
_CLIENT_ERRORS = (InvalidInput, NotFound, InterfaceConflict)
_UNSETTLED = (OperationState.UNDER_WAY, OperationState.FAILED)


def has_touched(operation: Operation) -> bool:
    """Whether a change had come so far that something live may be other than before."""
    return operation.last_step in (*FROM_SWAP, "restore")


class Operations:
    """Makes changes, and remembers their results.

    Serialising changes to one target is the caller's, as only it knows what belongs together.

    :param step_limit: seconds that a step may take unless its change says otherwise.
    """

    def __init__(self, journal: Journal, step_limit: float = 60.0) -> None:
        self._journal = journal
        self._step_limit = step_limit
        self._guard = threading.Lock()
        self._known: OrderedDict[str, Operation] = OrderedDict()
        self._late: dict[str, CallWithTimeout[object]] = {}

    def recover(self) -> None:
        """Read what the last agent left. Called once, at start, before anything is settled.

        :raises StorageError: the journals cannot be read.
        """
        try:
            self._journal.prepare()
        finally:
            for operation in self._journal.read_all():
                self._remember(operation)

    def all(self) -> list[Operation]:
        """Return what is known of changes, oldest first."""
        with self._guard:
            return [_copy(operation) for operation in self._known.values()]

    def get(self, identity: str) -> Operation:
        """Return one change.

        :raises OperationNotFound: it never was, or is long forgotten.
        """
        with self._guard:
            if identity not in self._known:
                raise OperationNotFound(identity)
            return _copy(self._known[identity])

    def interrupted(self, target: str) -> Operation | None:
        """Return the last change to a target if it is not settled, or None."""
        last = self.last(target)
        return last if last is not None and last.state in _UNSETTLED else None

    def last(self, target: str) -> Operation | None:
        """Return the last change to a target; None if there was none, or it is long forgotten."""
        return {operation.target: operation for operation in self.all()}.get(target)

    def unsettled(self) -> list[Operation]:
        """Return changes that must be settled, oldest first.

        The end of the last agent cut them off, or they failed and could not be undone.
        """
        return [operation for operation in self.all() if operation.state in _UNSETTLED]

    def settle(self, interrupted: Operation, state: OperationState, outcome: str) -> None:
        """Record the result of an interrupted change."""
        operation = self._known[interrupted.identity]
        LOG.warning(
            "%s of %s was interrupted in step %r and is now %s: %s",
            operation.kind,
            operation.target,
            operation.last_step,
            state.value,
            outcome,
        )
        reason = operation.reason or "the agent ended in the middle of it"
        if self._is_latest(operation):
            self._end(operation, state, reason, outcome)
        else:
            # It was settled by a later one, which has the target's journal now.
            self._set(operation, state, reason, outcome)

    def settle_failed(self, target: str, error: Exception) -> None:
        """Record that the interrupted change to a target, if there is one, could not be settled."""
        interrupted = self.interrupted(target)
        if interrupted is not None:
            self.settle(
                interrupted, OperationState.FAILED, f"it could be neither finished nor undone: {error}"
            )

    def settle_rest(self) -> None:
        """Record the result of interrupted changes that no part has settled. Called once, after all parts."""
        for operation in self.unsettled():
            if not has_touched(operation):
                self.settle(operation, OperationState.UNDONE, "nothing had been changed")
            elif operation.state is OperationState.UNDER_WAY and operation.kind == DELETE:
                self.settle(operation, OperationState.DONE, "nothing of it is left")
            elif operation.state is OperationState.UNDER_WAY:
                self.settle(operation, OperationState.FAILED, "it could be neither finished nor undone")

    def forget(self, target: str) -> None:
        """Remove the journal of a target that is gone."""
        self._journal.forget(target)

    def run(self, change: Change, intent: str = "") -> str:
        """Make a change, or leave everything as it was; return the evidence.

        A step of an earlier change to the target that has not come back by now is waited for once more.

        :param intent: shows after a crash whether the change was made; kept in the journal only.
        :raises InvalidInput: its check refused it; nothing was touched.
        :raises NotFound: what it needs is not there; everything is as it was.
        :raises InterfaceConflict: something else is in the way; everything is as it was.
        :raises ChangeFailed: the cause, and the state after the rollback.
        """
        self._await_late(change.target)
        operation = Operation(str(uuid.uuid4()), change.kind, change.target, time.time(), intent)
        self._journal.begin(operation)
        self._remember(operation)
        try:
            results = self._take_all(operation, change, BEFORE_SWAP)
        except Exception as error:
            return self._back_out(operation, change, "discard", error)
        try:
            results |= self._take_all(operation, change, FROM_SWAP)
        except Exception as error:
            return self._back_out(operation, change, "restore", error)
        # What has nothing to prove was checked at least.
        proof = str(results.get("prove") or results.get("check") or "")
        self._end(operation, OperationState.DONE, evidence=proof)
        LOG.info("%s of %s proven: %s", change.kind, change.target, proof)
        return proof

    def finish(self, again: RepeatedChange) -> tuple[OperationState, str]:
        """Retry an interrupted change; return its final state and a summary.

        :raises AmphoraError: it could neither be made nor undone.
        """
        try:
            return OperationState.DONE, self.run(again)
        except ChangeFailed as error:
            # Where nothing was touched again, what runs may still be of the change that was cut off.
            outcome = error.details if again.has_swapped else f"{error.details}\n{again.restore()}"
            return OperationState.UNDONE, outcome

    def _take_all(self, operation: Operation, change: Change, names: Iterable[str]) -> dict[str, object]:
        results = {}
        for name in names:
            step = getattr(change, name, None)
            if step is not None:
                results[name] = self._take(operation, change, name, step, self._note)
        return results

    def _take(self, operation: Operation, change: Change, name: str, step: Step, note: _Note) -> object:
        note(operation, _since_last_line(operation) | {"begins": name})
        self._note_step(operation, StepRecord(name))
        began = time.monotonic()
        result = self._call(change, name, step)
        self._note_step(operation, StepRecord(name, round(time.monotonic() - began, 4)), ended=True)
        return result

    def _call(self, change: Change, name: str, step: Step) -> object:
        limit = change.limits.get(name, self._step_limit)
        what = f"step {name!r} of {change.kind} of {change.target}"
        call = CallWithTimeout(step, limit, what)
        try:
            return call.result()
        except StepTimeout:
            # Nothing can end it from outside, and what is done next must not run beside it.
            if not call.ended_within(min(limit, _GRACE)):
                with self._guard:
                    self._late[change.target] = call
            raise

    def _await_late(self, target: str) -> None:
        with self._guard:
            late = self._late.pop(target, None)
        if late is not None and not late.ended_within(min(late.limit, _GRACE)):
            LOG.error("%s is still at work and may interfere with the next change", late.what)

    def _back_out(self, operation: Operation, change: Change, name: str, error: Exception) -> str:
        """Roll back, record it and raise the cause; return the state where the change is in effect."""
        try:
            outcome = str(self._take(operation, change, name, getattr(change, name), self._note_quietly))
        except AlreadyInEffect as state:
            LOG.warning("%s of %s is in effect in spite of: %s", change.kind, change.target, error)
            self._end(operation, OperationState.DONE, reason=str(error), evidence=str(state))
            return str(state)
        except Exception as second:
            outcome = f"Additionally, restoring the former state failed: {second}"
            LOG.error("%s of %s: %s", change.kind, change.target, outcome, exc_info=second)
            self._end(operation, OperationState.FAILED, reason=str(error), evidence=outcome)
        else:
            self._end(operation, OperationState.UNDONE, reason=str(error), evidence=outcome)
        if isinstance(error, _CLIENT_ERRORS):
            raise error
        raise ChangeFailed(str(error), outcome, is_undone=operation.state is OperationState.UNDONE) from error

    def _end(self, operation: Operation, state: OperationState, reason: str = "", evidence: str = "") -> None:
        self._set(operation, state, reason, evidence)
        end = {"state": state.value, "reason": reason, "evidence": evidence}
        self._note_quietly(operation, _since_last_line(operation) | end)

    def _set(self, operation: Operation, state: OperationState, reason: str, evidence: str) -> None:
        with self._guard:
            operation.state, operation.reason, operation.evidence = state, reason, evidence

    def _is_latest(self, operation: Operation) -> bool:
        with self._guard:
            return [each for each in self._known.values() if each.target == operation.target][-1] is operation

    def _note(self, operation: Operation, event: Mapping[str, object]) -> None:
        self._journal.note(operation.target, event)

    def _note_quietly(self, operation: Operation, event: Mapping[str, object]) -> None:
        # The change itself is settled; without this line the next start looks at it once more.
        try:
            self._note(operation, event)
        except StorageError as error:
            LOG.warning("the journal of %s is not complete: %s", operation.target, error)

    def _note_step(self, operation: Operation, step: StepRecord, *, ended: bool = False) -> None:
        with self._guard:
            if ended:
                operation.steps[-1] = step
            else:
                operation.steps.append(step)

    def _remember(self, operation: Operation) -> None:
        with self._guard:
            self._known[operation.identity] = operation
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)


def _since_last_line(operation: Operation) -> dict[str, object]:
    """Return what the next line of the journal says of the step before it, which saves a write."""
    seconds = operation.steps[-1].seconds if operation.steps else None
    return {} if seconds is None else {"seconds": seconds}


def _copy(operation: Operation) -> Operation:
    return replace(operation, steps=list(operation.steps))
