# SPDX-License-Identifier: Apache-2.0
"""LVS listeners over a fake process manager; the journal of changes is a real one."""

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.operations import DELETE, Operations
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD
from amphora.errors import (
    InvalidConfiguration,
    LvsActionFailed,
    LvsListenerNotFound,
    OperationFailed,
    ProofFailed,
    ServiceError,
    StorageError,
)
from amphora.models import ActionKind, ServiceState
from amphora.system import files
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.core import CoreRig
from tests.support.lvs import EMPTY, LISTENER, OTHER_LISTENER, with_members

OLD, NEW = with_members(1), with_members(1, 2)


class AgentKilled(BaseException):
    """Ends a change as SIGKILL would: nothing that follows is done."""


class Mortal(Operations):
    """Lets something happen in the next change: ``faults`` has a function for the end of a step."""

    faults: dict[str, object] = {}

    def run(self, change, intent=""):
        faults, self.faults = self.faults, {}
        return super().run(Faulty(change, faults), intent)


class Faulty:
    def __init__(self, change, faults):
        self._change = change
        self._faults = faults

    def __getattr__(self, name):
        fault = self._faults.get(name)
        if fault is None:
            return getattr(self._change, name)
        # Where the change has no such step, the fault comes between those that it has.
        step = getattr(self._change, name, None) or (lambda: None)

        def take():
            result = step()
            fault()
            return result

        return take


def kill():
    raise AgentKilled


def fail():
    raise ServiceError("a driver has a defect")


@pytest.fixture
def rig(memory_dir):
    return make_rig(memory_dir, FakeProcessManager())


@pytest.fixture
def layout(rig):
    return rig.lvs_directory.files(LISTENER)


@pytest.fixture
def running(rig):
    rig.lvs(LISTENER).upload(OLD)
    rig.lvs(LISTENER).start()
    return rig.lvs(LISTENER)


def make_rig(base_path, processes):
    rig = CoreRig(base_path, processes, Mortal(Journal(base_path / "operations")))
    rig.operations.recover()
    return rig


def pid(rig, layout):
    return rig.processes.status(layout.service_name).pid


def test_an_upload_is_stored_byte_for_byte_and_starts_nothing(rig, layout):
    assert "valid" in rig.lvs(LISTENER).upload(OLD)
    assert rig.lvs(LISTENER).configuration() == OLD
    assert layout.stored == rig.lvs_directory.path / f"octavia-keepalivedlvs-{LISTENER}.conf"
    assert layout.stored.stat().st_mode & 0o777 == 0o644
    assert layout.udp_check.stat().st_mode & 0o777 == 0o100
    assert rig.processes.status(layout.service_name).state is ServiceState.ABSENT


def test_a_refused_upload_leaves_the_former_or_nothing(rig, layout):
    bad = OLD + b"BAD_LINE\n"
    with pytest.raises(InvalidConfiguration, match=rf"{layout.stored.name}: Line \d+"):
        rig.lvs(LISTENER).upload(bad)
    assert not layout.directory.exists()
    assert not rig.lvs(LISTENER).exists
    rig.lvs(LISTENER).upload(OLD)
    with pytest.raises(InvalidConfiguration):
        rig.lvs(LISTENER).upload(bad)
    assert rig.lvs(LISTENER).configuration() == OLD
    assert not layout.staged.exists()


def test_a_script_that_somebody_has_changed_is_written_anew(rig, layout):
    rig.lvs(LISTENER).upload(OLD)
    content = layout.udp_check.read_bytes()
    layout.udp_check.chmod(0o755)
    layout.udp_check.write_bytes(b"#!/bin/sh\n")
    rig.lvs(LISTENER).upload(OLD)
    assert (layout.udp_check.read_bytes(), layout.udp_check.stat().st_mode & 0o777) == (content, 0o100)


def test_a_start_runs_it_tells_its_addresses_and_may_be_repeated(rig, layout, running):
    first = pid(rig, layout)
    assert rig.announced == [{"203.0.113.2"}]
    assert running.start().kind is ActionKind.STARTED
    assert pid(rig, layout) == first
    assert layout.proven.read_bytes() == OLD
    assert rig.processes.machine.specs[f"octavia-keepalivedlvs-{LISTENER}"].argv[-7] == str(layout.overlay)


def test_a_reload_is_a_restart_with_what_is_stored(rig, layout, running):
    first = pid(rig, layout)
    running.upload(NEW)
    assert layout.running.read_bytes() == OLD
    assert running.reload().kind is ActionKind.RELOADED
    assert layout.running.read_bytes() == NEW
    assert pid(rig, layout) != first


def test_a_reload_of_what_is_stopped_is_a_start(rig, running):
    running.stop()
    assert running.reload().kind is ActionKind.STARTED


def test_a_reload_that_cannot_be_proven_is_undone(rig, layout, running):
    running.upload(NEW)
    rig.engine.fail_at["prove"] = [ProofFailed("keepalived has ended: no IPVS")]
    with pytest.raises(LvsActionFailed, match="no IPVS") as failure:
        running.reload()
    assert failure.value.action == "restart"
    assert "started again with its last proven configuration" in failure.value.details
    assert rig.engine.proven[-2:] == [NEW, OLD]
    assert running.configuration() == OLD
    assert rig.processes.status(layout.service_name).state is ServiceState.RUNNING


def test_a_first_start_that_fails_leaves_it_stopped_and_the_upload_stored(rig, layout):
    rig.lvs(LISTENER).upload(OLD)
    rig.processes.fail_next("start", ServiceError("keepalived ended with status 1"))
    with pytest.raises(LvsActionFailed, match="ended with status 1") as failure:
        rig.lvs(LISTENER).start()
    assert "keepalived is stopped" in failure.value.details
    assert rig.lvs(LISTENER).configuration() == OLD
    assert not layout.running.exists()


def test_when_restoring_fails_too_both_failures_are_told(rig, running):
    running.upload(NEW)
    rig.engine.fail_at["prove"] = [ProofFailed("the first"), ProofFailed("the second")]
    with pytest.raises(LvsActionFailed, match="(?s)the first.*the second"):
        running.reload()


def test_a_service_that_another_listener_serves_is_refused_before_anything_is_touched(rig, running):
    rig.lvs(OTHER_LISTENER).upload(NEW)
    with pytest.raises(LvsActionFailed, match=rf"UDP 203.0.113.2:53 is served by listener {LISTENER}"):
        rig.lvs(OTHER_LISTENER).start()
    running.stop()
    rig.lvs(OTHER_LISTENER).start()


def test_a_stop_may_be_repeated(rig, layout, running):
    assert [running.stop().kind for _ in range(2)] == [ActionKind.STOPPED] * 2
    assert rig.processes.status(layout.service_name).state is ServiceState.STOPPED


def test_a_stop_that_fails_says_so(rig, running):
    rig.processes.fail_next("stop", ServiceError("a process survived"))
    with pytest.raises(LvsActionFailed, match="survived") as failure:
        running.stop()
    assert failure.value.action == "stop"


def test_what_is_not_known_cannot_be_acted_upon(rig):
    listener = rig.lvs(LISTENER)
    for act in (listener.start, listener.stop, listener.reload, listener.delete):
        with pytest.raises(LvsListenerNotFound):
            act()


@pytest.mark.parametrize("left", [(), ("main",), ("vrrp", "check"), ("main", "vrrp", "check")])
def test_a_delete_removes_all_whichever_pid_files_are_left(rig, layout, running, left):
    for name in left:
        getattr(layout.pid_files, name).write_text("1\n")
    running.delete()
    names = {path.name for path in rig.lvs_directory.path.iterdir()}
    assert names == {"check"}
    assert rig.processes.status(layout.service_name).state is ServiceState.ABSENT
    assert not list((rig.lvs_directory.path.parent / "operations").iterdir())
    with pytest.raises(LvsListenerNotFound):
        running.delete()


def test_a_delete_that_fails_may_be_repeated(rig, running):
    rig.processes.fail_next("remove", ServiceError("a process survived"))
    with pytest.raises(LvsActionFailed, match="survived"):
        running.delete()
    assert running.configuration() == OLD
    running.delete()
    assert not running.exists


def test_others_hear_of_every_change(rig, running):
    before = rig.changes
    running.upload(NEW)
    running.reload()
    running.stop()
    running.delete()
    assert rig.changes >= before + 4


def test_the_next_agent_leaves_alone_what_runs(memory_dir, rig, layout, running):
    first = pid(rig, layout)
    layout.staged.write_bytes(NEW)
    (layout.shared_directory / ".amphora-tmp-1").touch()
    layout.pid_files.check.write_text("1\n")
    successor = make_rig(memory_dir, rig.processes)
    successor.catalog.recover_lvs_listeners()
    assert pid(successor, layout) == first
    assert not layout.staged.exists()
    assert not layout.pid_files.check.exists(), "keepalived would not start because of it"
    assert not list(layout.shared_directory.glob(".amphora*"))


def test_a_listener_without_a_pool_runs(rig, layout):
    rig.lvs(LISTENER).upload(EMPTY)
    rig.lvs(LISTENER).start()
    assert rig.processes.status(layout.service_name).state is ServiceState.RUNNING
    assert rig.announced == [set()]


STEPS = ("stage", "check", "preflight", "swap", "apply", "prove", "commit")
#: Those that each kind of change consists of.
WALKED = {
    UPLOAD: ["stage", "check", "swap", "commit"],
    START: list(STEPS),
    RELOAD: list(STEPS),
    STOP: ["apply"],
    DELETE: ["apply", "commit"],
}
ACTS = (UPLOAD, START, RELOAD, STOP, DELETE)


def prepared(rig, kind):
    """Bring a listener to where a change to it begins: OLD proven, and NEW stored where that is to run."""
    rig.lvs(LISTENER).upload(OLD)
    rig.lvs(LISTENER).start()
    if kind == START:
        rig.lvs(LISTENER).stop()
    if kind in (START, RELOAD):
        rig.lvs(LISTENER).upload(NEW)


def act(rig, kind):
    if kind == UPLOAD:
        return rig.lvs(LISTENER).upload(NEW)
    return getattr(rig.lvs(LISTENER), kind)()


def state(rig, layout):
    """Return what is stored, what the service is started from, and whether it runs."""
    stored, running = (
        path.read_bytes() if path.exists() else None for path in (layout.stored, layout.running)
    )
    return stored, running, rig.processes.status(layout.service_name).state is ServiceState.RUNNING


AS_BEFORE = {
    UPLOAD: (OLD, OLD, True),
    START: (OLD, OLD, False),
    RELOAD: (OLD, OLD, True),
    STOP: (OLD, OLD, True),
    DELETE: (OLD, OLD, True),
}
MADE = {
    UPLOAD: (NEW, OLD, True),
    START: (NEW, NEW, True),
    RELOAD: (NEW, NEW, True),
    STOP: (OLD, OLD, False),
    DELETE: (None, None, False),
}


def check_settled(rig, layout):
    assert [path.name for path in layout.transient if path.exists()] == []
    assert not layout.exists or layout.proven.read_bytes() in (OLD, NEW)


@pytest.mark.parametrize("kind", ACTS)
def test_a_change_is_told_with_its_steps(rig, kind):
    prepared(rig, kind)
    act(rig, kind)
    told = rig.operations.all()[-1]
    assert (told.kind, told.target, told.state) == (kind, LISTENER, OperationState.DONE)
    assert [step.name for step in told.steps] == WALKED[kind]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ACTS)
def test_the_next_agent_settles_what_was_cut_off(memory_dir, rig, layout, kind, step):
    prepared(rig, kind)
    rig.operations.faults = {step: kill}
    with pytest.raises(AgentKilled):
        act(rig, kind)
    successor = make_rig(memory_dir, rig.processes)
    interrupted = successor.operations.interrupted(LISTENER)
    successor.catalog.recover_lvs_listeners()
    successor.operations.settle_rest()
    told = successor.operations.get(interrupted.identity).state
    wanted = MADE if told is OperationState.DONE else AS_BEFORE
    assert told in (OperationState.DONE, OperationState.UNDONE)
    assert state(successor, layout) == wanted[kind]
    check_settled(successor, layout)


def as_a_former_release(journal, step):
    """Let a journal be as an agent wrote it that walked every step, and called two of them otherwise."""
    former = {"apply": "act", "commit": "keep"}
    head = journal.read_bytes().splitlines(keepends=True)[0]
    walked = [former.get(each, each) for each in STEPS[: STEPS.index(step) + 1]]
    journal.write_bytes(head + b"".join(f'{{"begins":"{each}"}}\n'.encode() for each in walked))


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ACTS)
def test_what_an_agent_of_a_former_release_left_is_settled(memory_dir, rig, layout, kind, step):
    prepared(rig, kind)
    rig.operations.faults = {step: kill}
    with pytest.raises(AgentKilled):
        act(rig, kind)
    as_a_former_release(memory_dir / "operations" / f"{LISTENER}.journal", step)
    successor = make_rig(memory_dir, rig.processes)
    interrupted = successor.operations.interrupted(LISTENER)
    assert interrupted.last_step == step
    successor.catalog.recover_lvs_listeners()
    successor.operations.settle_rest()
    told = successor.operations.get(interrupted.identity).state
    assert told in (OperationState.DONE, OperationState.UNDONE)
    assert state(successor, layout) == (MADE if told is OperationState.DONE else AS_BEFORE)[kind]
    check_settled(successor, layout)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("kind", ACTS)
def test_a_step_that_fails_leaves_the_old_or_the_new(rig, layout, kind, step):
    prepared(rig, kind)
    rig.operations.faults = {step: fail}
    try:
        act(rig, kind)
        answered = OperationState.DONE
    except OperationFailed:
        answered = OperationState.UNDONE
    operation = rig.operations.all()[-1]
    told = operation.state
    assert "a driver has a defect" in operation.reason
    if told is OperationState.FAILED:
        # Its service is gone already, and its files are not.
        assert (kind, state(rig, layout)) == (DELETE, (OLD, OLD, False))
    else:
        assert told is answered
        assert state(rig, layout) == (MADE if told is OperationState.DONE else AS_BEFORE)[kind]
        check_settled(rig, layout)
    if rig.lvs(LISTENER).exists:
        rig.lvs(LISTENER).delete()
    assert not layout.exists


@pytest.mark.parametrize("step", STEPS[3:])
@pytest.mark.parametrize("kind", [START, RELOAD])
def test_keeping_and_going_back_need_no_room_on_the_disk(rig, layout, kind, step, monkeypatch):
    prepared(rig, kind)

    def refuse(path, *_arguments):
        raise StorageError(f"{path}: no space left on device")

    def full():
        monkeypatch.setattr(files, "write_atomically", refuse)
        fail()

    rig.operations.faults = {step: full}
    told = OperationState.DONE
    try:
        act(rig, kind)
    except LvsActionFailed:
        told = OperationState.UNDONE
    assert rig.operations.all()[-1].state is told
    assert state(rig, layout) == (MADE if told is OperationState.DONE else AS_BEFORE)[kind]


def test_a_first_upload_that_was_cut_off_leaves_nothing(memory_dir, rig, layout):
    rig.operations.faults = {"check": kill}
    with pytest.raises(AgentKilled):
        rig.lvs(LISTENER).upload(OLD)
    successor = make_rig(memory_dir, rig.processes)
    successor.catalog.recover_lvs_listeners()
    assert not layout.exists
    assert successor.operations.all()[-1].state is OperationState.UNDONE


def test_a_stopped_listener_needs_no_change_to_be_stopped(rig, running):
    running.stop()
    before = len(rig.operations.all())
    running.stop()
    assert len(rig.operations.all()) == before
