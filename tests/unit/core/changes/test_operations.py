# SPDX-License-Identifier: Apache-2.0
import contextlib
import functools
import threading

import pytest
from oslo_context import context

from amphora.core.changes.journal import Journal, Operation, OperationState
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps
from amphora.errors import (
    ChangeFailed,
    InvalidConfiguration,
    OperationFailed,
    OperationNotFound,
    StorageError,
)

ORDER = ["stage", "check", "preflight", "swap", "apply", "prove", "commit"]
BEFORE = ORDER[:3]


class Recorder:
    """Steps that are recorded, and may fail or hang."""

    def __init__(self, **troubles):
        self.taken = []
        self._troubles = troubles
        steps = {name: functools.partial(self._step, name) for name in (*ORDER, "discard", "restore")}
        self.change = Steps("reload", "one", **steps)

    def _step(self, name):
        self.taken.append(name)
        trouble = self._troubles.get(name)
        if isinstance(trouble, threading.Event):
            trouble.wait(30)
        elif trouble is not None:
            raise trouble
        return f"{name}: done"


class ReadOnlyJournal(Journal):
    """One on a disk that cannot be written."""

    def prepare(self):
        raise StorageError("read-only file system")


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "operations"


@pytest.fixture
def operations(directory):
    operations = Operations(Journal(directory))
    operations.recover()
    return operations


def test_steps_come_in_order_and_the_proof_is_the_answer(operations):
    change = Recorder()
    assert operations.run(change.change) == "prove: done"
    assert change.taken == ORDER
    (told,) = operations.all()
    assert (told.state, told.evidence) == (OperationState.DONE, "prove: done")
    assert [step.name for step in told.steps] == ORDER
    assert all(step.seconds is not None for step in told.steps)


@pytest.mark.parametrize("name", ORDER)
def test_a_step_that_fails_is_undone(operations, name):
    change = Recorder(**{name: OperationFailed("no")})
    back = "discard" if name in BEFORE else "restore"
    with pytest.raises(ChangeFailed, match=f"no\n{back}: done"):
        operations.run(change.change)
    assert change.taken == [*ORDER[: ORDER.index(name) + 1], back]
    (told,) = operations.all()
    assert (told.state, told.reason, told.evidence) == (OperationState.UNDONE, "no", f"{back}: done")


def test_what_the_check_refuses_is_the_callers_own_fault(operations):
    with pytest.raises(InvalidConfiguration):
        operations.run(Recorder(check=InvalidConfiguration("line 1")).change)
    assert operations.all()[0].state is OperationState.UNDONE


@pytest.mark.parametrize("name", ORDER)
def test_a_step_that_hangs_is_given_up_and_undone(directory, name):
    operations = Operations(Journal(directory), step_limit=0.05)
    operations.recover()
    released = threading.Event()
    change = Recorder(**{name: released})
    try:
        with pytest.raises(
            ChangeFailed, match=f"step '{name}' of reload of one did not come back within 0.05 s"
        ):
            operations.run(change.change)
        assert change.taken[-1] == ("discard" if name in BEFORE else "restore")
    finally:
        released.set()


def test_two_failures_are_both_told(operations):
    change = Recorder(apply=OperationFailed("first"), restore=OperationFailed("second"))
    with pytest.raises(ChangeFailed, match=r"(?s)first.*second"):
        operations.run(change.change)
    assert operations.all()[0].state is OperationState.FAILED


def test_a_change_that_no_journal_can_hold_is_not_begun(operations, directory):
    directory.rmdir()
    directory.write_text("in the way")
    change = Recorder()
    with pytest.raises(OperationFailed):
        operations.run(change.change)
    assert change.taken == []


@pytest.mark.parametrize("name", ORDER)
def test_after_a_crash_the_interrupted_change_is_known(directory, name):
    journal = Journal(directory)
    journal.begin(Operation("id", "reload", "one", 1.0))
    for begun in ORDER[: ORDER.index(name) + 1]:
        journal.note("one", {"begins": begun})
    operations = Operations(journal)
    operations.recover()
    interrupted = operations.interrupted("one")
    assert (interrupted.kind, interrupted.last_step) == ("reload", name)
    operations.settle(interrupted, OperationState.UNDONE, "went back")
    assert operations.interrupted("one") is None
    again = Operations(Journal(directory))
    again.recover()
    assert again.interrupted("one") is None
    assert again.get("id").evidence == "went back"


def test_an_unknown_operation_is_not_found(operations):
    with pytest.raises(OperationNotFound):
        operations.get("nothing")


def test_only_so_many_are_remembered(operations):
    for _ in range(210):
        operations.run(Recorder().change)
    assert len(operations.all()) == 200


def test_what_is_told_cannot_be_changed_from_outside(operations):
    operations.run(Recorder().change)
    operations.all()[0].steps.clear()
    assert isinstance(operations.all()[0], Operation)
    assert len(operations.all()[0].steps) == len(ORDER)


def test_a_change_needs_only_the_steps_it_has(operations):
    assert operations.run(Steps("forget", "one", prove=lambda: "gone")) == "gone"


def test_a_step_that_a_change_has_not_is_not_walked(operations, directory):
    threads = []
    steps = Steps("stop", "one", apply=lambda: threads.append(threading.current_thread().name))
    assert operations.run(steps) == ""
    (told,) = operations.all()
    assert [step.name for step in told.steps] == ["apply"]
    assert threads == ["step 'apply' of stop of one"]
    (journal,) = directory.iterdir()
    assert len(journal.read_text().splitlines()) == 3, "its head, the one step, and its end"


def test_what_has_nothing_to_prove_is_told_with_the_words_of_its_check(operations):
    steps = Steps("upload", "one", check=lambda: "Configuration file is valid", swap=lambda: True)
    assert operations.run(steps) == "Configuration file is valid"
    assert operations.all()[0].evidence == "Configuration file is valid"


def test_steps_run_in_the_context_of_the_caller(directory):
    entered = []

    class InContext(Recorder):
        def _step(self, name):
            entered.append(context.get_current())
            return super()._step(name)

    operations = Operations(Journal(directory))
    operations.recover()
    callers = []

    def call():
        callers.append(context.RequestContext(overwrite=True))
        operations.run(InContext().change)

    caller = threading.Thread(target=call)
    caller.start()
    caller.join(30)
    assert entered == callers * len(ORDER)
    assert len(callers) == 1


@pytest.mark.parametrize("name", ["swap", "apply", "prove", "commit"])
def test_a_change_that_is_in_effect_in_spite_of_a_failure_is_told_as_made(directory, operations, name):
    change = Recorder(**{name: OperationFailed("no"), "restore": AlreadyInEffect("it is stopped")})
    assert operations.run(change.change) == "it is stopped"
    (told,) = operations.all()
    assert (told.state, told.reason, told.evidence) == (OperationState.DONE, "no", "it is stopped")
    again = Operations(Journal(directory))
    again.recover()
    assert again.interrupted("one") is None


def test_a_late_step_is_waited_for_before_what_was_is_restored(directory):
    operations = Operations(Journal(directory), step_limit=0.2)
    operations.recover()
    released, order = threading.Event(), []

    def act():
        released.wait(30)
        order.append("act")

    steps = Steps("reload", "one", apply=act, restore=lambda: str(order.append("restore")))
    threading.Timer(0.25, released.set).start()
    with pytest.raises(ChangeFailed, match="did not come back within"):
        operations.run(steps)
    assert order == ["act", "restore"]


def test_the_next_change_to_a_target_waits_for_a_late_step(directory, caplog):
    operations = Operations(Journal(directory), step_limit=0.2)
    operations.recover()
    released, order = threading.Event(), []

    def act():
        released.wait(30)
        order.append("late")

    with pytest.raises(ChangeFailed):
        operations.run(Steps("reload", "one", apply=act))
    operations.run(Steps("reload", "other", apply=lambda: order.append("other")))
    threading.Timer(0.05, released.set).start()
    operations.run(Steps("reload", "one", apply=lambda: order.append("next")))
    assert order == ["other", "late", "next"]
    assert "step 'apply' of reload of one came back after its time limit" in caplog.text


def test_a_step_that_never_comes_back_does_not_block_its_target_for_ever(directory, caplog):
    operations = Operations(Journal(directory), step_limit=0.05)
    operations.recover()
    released = threading.Event()
    with pytest.raises(ChangeFailed):
        operations.run(Steps("reload", "one", apply=lambda: released.wait(30)))
    assert operations.run(Steps("reload", "one", prove=lambda: "proven")) == "proven"
    released.set()
    assert "step 'apply' of reload of one is still at work" in caplog.text


@pytest.mark.parametrize(
    ("kind", "steps", "state"),
    [
        ("reload", ["stage", "check"], OperationState.UNDONE),
        ("reload", ["stage", "check", "preflight", "swap"], OperationState.FAILED),
        ("delete", ["stage", "check", "preflight", "swap", "apply"], OperationState.DONE),
        ("delete", ["stage"], OperationState.UNDONE),
    ],
)
def test_what_no_part_has_settled_is_not_told_as_made(directory, kind, steps, state):
    journal = Journal(directory)
    journal.begin(Operation("id", kind, "one", 1.0))
    for step in steps:
        journal.note("one", {"begins": step})
    operations = Operations(journal)
    operations.recover()
    operations.settle_rest()
    assert operations.get("id").state is state


def test_a_part_that_could_not_settle_a_change_says_so(directory):
    journal = Journal(directory)
    journal.begin(Operation("id", "delete", "one", 1.0))
    journal.note("one", {"begins": "apply"})
    operations = Operations(journal)
    operations.recover()
    operations.settle_failed("one", OperationFailed("the disk is full"))
    operations.settle_failed("other", OperationFailed("nothing is known of it"))
    operations.settle_rest()
    told = operations.get("id")
    assert told.state is OperationState.FAILED
    assert "the disk is full" in told.evidence


@pytest.mark.parametrize("trouble", [{}, {"apply": OperationFailed("no")}], ids=["done", "undone"])
def test_the_time_of_each_step_outlives_the_agent(directory, operations, trouble):
    with contextlib.suppress(ChangeFailed):
        operations.run(Recorder(**trouble).change)
    again = Operations(Journal(directory))
    again.recover()
    (before,), (after,) = operations.all(), again.all()
    assert after == before
    timed = [step.name for step in after.steps if step.seconds is not None]
    assert timed == (ORDER if not trouble else [*ORDER[:4], "restore"])


def test_changes_are_known_even_where_nothing_can_be_written(directory, operations):
    operations.run(Recorder().change)
    again = Operations(ReadOnlyJournal(directory))
    with pytest.raises(StorageError):
        again.recover()
    assert len(again.all()) == 1


def test_the_intent_of_a_change_outlives_the_agent(directory, operations):
    operations.run(Steps("put", "one"), "www.example.com.pem 0123")
    again = Operations(Journal(directory))
    again.recover()
    assert [operation.intent for operation in again.all()] == ["www.example.com.pem 0123"]
