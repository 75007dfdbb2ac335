# SPDX-License-Identifier: Apache-2.0
"""LVS listeners over a fake process manager; the journal of changes is a real one."""

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.locks import InstanceLocks
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
from amphora.models import Done, ServiceState
from amphora.system import files
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.lvs import EMPTY, LISTENER, OTHER_LISTENER, LvsRig, with_members

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
    return rig.directory.layout(LISTENER)


@pytest.fixture
def running(rig):
    rig.listeners.upload(LISTENER, OLD)
    rig.listeners.start(LISTENER)
    return rig.listeners


def make_rig(base_path, services):
    rig = LvsRig(base_path, services, Mortal(Journal(base_path / "operations")), InstanceLocks(5.0))
    rig.operations.recover()
    return rig


def pid(rig, layout):
    return rig.engine.status(layout).pid


def test_an_upload_is_stored_byte_for_byte_and_starts_nothing(rig, layout):
    assert "valid" in rig.listeners.upload(LISTENER, OLD)
    assert rig.listeners.configuration(LISTENER) == OLD
    assert layout.stored == rig.directory.path / f"octavia-keepalivedlvs-{LISTENER}.conf"
    assert layout.stored.stat().st_mode & 0o777 == 0o644
    assert layout.udp_check.stat().st_mode & 0o777 == 0o100
    assert rig.engine.status(layout).state is ServiceState.ABSENT


def test_a_refused_upload_leaves_the_former_or_nothing(rig, layout):
    bad = OLD + b"BAD_LINE\n"
    with pytest.raises(InvalidConfiguration, match=rf"{layout.stored.name}: Line \d+"):
        rig.listeners.upload(LISTENER, bad)
    assert not layout.directory.exists()
    assert not rig.listeners.knows(LISTENER)
    rig.listeners.upload(LISTENER, OLD)
    with pytest.raises(InvalidConfiguration):
        rig.listeners.upload(LISTENER, bad)
    assert rig.listeners.configuration(LISTENER) == OLD
    assert not layout.staged.exists()


def test_a_script_that_somebody_has_changed_is_written_anew(rig, layout):
    rig.listeners.upload(LISTENER, OLD)
    content = layout.udp_check.read_bytes()
    layout.udp_check.chmod(0o755)
    layout.udp_check.write_bytes(b"#!/bin/sh\n")
    rig.listeners.upload(LISTENER, OLD)
    assert (layout.udp_check.read_bytes(), layout.udp_check.stat().st_mode & 0o777) == (content, 0o100)


def test_a_start_runs_it_tells_its_addresses_and_may_be_repeated(rig, layout, running):
    first = pid(rig, layout)
    assert rig.announced == [{"203.0.113.2"}]
    assert running.start(LISTENER).done is Done.STARTED
    assert pid(rig, layout) == first
    assert layout.proven.read_bytes() == OLD
    assert rig.services.machine.specs[f"octavia-keepalivedlvs-{LISTENER}"].argv[-7] == str(layout.overlay)


def test_a_reload_is_a_restart_with_what_is_stored(rig, layout, running):
    first = pid(rig, layout)
    running.upload(LISTENER, NEW)
    assert layout.running.read_bytes() == OLD
    assert running.reload(LISTENER).done is Done.RELOADED
    assert layout.running.read_bytes() == NEW
    assert pid(rig, layout) != first


def test_a_reload_of_what_is_stopped_is_a_start(rig, running):
    running.stop(LISTENER)
    assert running.reload(LISTENER).done is Done.STARTED


def test_a_reload_that_cannot_be_proven_is_undone(rig, layout, running):
    running.upload(LISTENER, NEW)
    rig.engine.failures = [ProofFailed("keepalived has ended: no IPVS")]
    with pytest.raises(LvsActionFailed, match="no IPVS") as failure:
        running.reload(LISTENER)
    assert failure.value.action == "restart"
    assert "started again with its last proven configuration" in failure.value.details
    assert rig.engine.proven[-2:] == [NEW, OLD]
    assert running.configuration(LISTENER) == OLD
    assert rig.engine.status(layout).state is ServiceState.RUNNING


def test_a_first_start_that_fails_leaves_it_stopped_and_the_upload_stored(rig, layout):
    rig.listeners.upload(LISTENER, OLD)
    rig.services.fail_next("start", ServiceError("keepalived ended with status 1"))
    with pytest.raises(LvsActionFailed, match="ended with status 1") as failure:
        rig.listeners.start(LISTENER)
    assert "keepalived is stopped" in failure.value.details
    assert rig.listeners.configuration(LISTENER) == OLD
    assert not layout.running.exists()


def test_when_restoring_fails_too_both_failures_are_told(rig, running):
    running.upload(LISTENER, NEW)
    rig.engine.failures = [ProofFailed("the first"), ProofFailed("the second")]
    with pytest.raises(LvsActionFailed, match="(?s)the first.*the second"):
        running.reload(LISTENER)


def test_a_service_that_another_listener_serves_is_refused_before_anything_is_touched(rig, running):
    rig.listeners.upload(OTHER_LISTENER, NEW)
    with pytest.raises(LvsActionFailed, match=rf"UDP 203.0.113.2:53 is served by listener {LISTENER}"):
        rig.listeners.start(OTHER_LISTENER)
    running.stop(LISTENER)
    rig.listeners.start(OTHER_LISTENER)


def test_a_stop_may_be_repeated(rig, layout, running):
    assert [running.stop(LISTENER).done for _ in range(2)] == [Done.STOPPED] * 2
    assert rig.engine.status(layout).state is ServiceState.STOPPED


def test_a_stop_that_fails_says_so(rig, running):
    rig.services.fail_next("stop", ServiceError("a process survived"))
    with pytest.raises(LvsActionFailed, match="survived") as failure:
        running.stop(LISTENER)
    assert failure.value.action == "stop"


def test_what_is_not_known_cannot_be_acted_upon(rig):
    for act in (rig.listeners.start, rig.listeners.stop, rig.listeners.reload, rig.listeners.delete):
        with pytest.raises(LvsListenerNotFound):
            act(LISTENER)


@pytest.mark.parametrize("left", [(), ("main",), ("vrrp", "check"), ("main", "vrrp", "check")])
def test_a_delete_removes_all_whichever_pid_files_are_left(rig, layout, running, left):
    for name in left:
        getattr(layout.pid_files, name).write_text("1\n")
    running.delete(LISTENER)
    names = {path.name for path in rig.directory.path.iterdir()}
    assert names == {"check"}
    assert rig.engine.status(layout).state is ServiceState.ABSENT
    assert not list((rig.directory.path.parent / "operations").iterdir())
    with pytest.raises(LvsListenerNotFound):
        running.delete(LISTENER)


def test_a_delete_that_fails_may_be_repeated(rig, running):
    rig.services.fail_next("remove", ServiceError("a process survived"))
    with pytest.raises(LvsActionFailed, match="survived"):
        running.delete(LISTENER)
    assert running.configuration(LISTENER) == OLD
    running.delete(LISTENER)
    assert not running.knows(LISTENER)


def test_others_hear_of_every_change(rig, running):
    before = rig.changes
    running.upload(LISTENER, NEW)
    running.reload(LISTENER)
    running.stop(LISTENER)
    running.delete(LISTENER)
    assert rig.changes >= before + 4


def test_the_next_agent_leaves_alone_what_runs(memory_dir, rig, layout, running):
    first = pid(rig, layout)
    layout.staged.write_bytes(NEW)
    (layout.shared_directory / ".amphora-tmp-1").touch()
    layout.pid_files.check.write_text("1\n")
    successor = make_rig(memory_dir, rig.services)
    successor.listeners.recover()
    assert pid(successor, layout) == first
    assert not layout.staged.exists()
    assert not layout.pid_files.check.exists(), "keepalived would not start because of it"
    assert not list(layout.shared_directory.glob(".amphora*"))


def test_a_listener_without_a_pool_runs(rig, layout):
    rig.listeners.upload(LISTENER, EMPTY)
    rig.listeners.start(LISTENER)
    assert rig.engine.status(layout).state is ServiceState.RUNNING
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
    rig.listeners.upload(LISTENER, OLD)
    rig.listeners.start(LISTENER)
    if kind == START:
        rig.listeners.stop(LISTENER)
    if kind in (START, RELOAD):
        rig.listeners.upload(LISTENER, NEW)


def act(rig, kind):
    if kind == UPLOAD:
        return rig.listeners.upload(LISTENER, NEW)
    return getattr(rig.listeners, kind)(LISTENER)


def state(rig, layout):
    """Return what is stored, what the service is started from, and whether it runs."""
    stored, running = (
        path.read_bytes() if path.exists() else None for path in (layout.stored, layout.running)
    )
    return stored, running, rig.engine.status(layout).state is ServiceState.RUNNING


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
    successor = make_rig(memory_dir, rig.services)
    interrupted = successor.operations.interrupted(LISTENER)
    successor.listeners.recover()
    successor.operations.settle_rest()
    told = successor.operations.get(interrupted.identity).state
    wanted = MADE if told is OperationState.DONE else AS_BEFORE
    assert told in (OperationState.DONE, OperationState.UNDONE)
    assert state(successor, layout) == wanted[kind]
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
    if rig.listeners.knows(LISTENER):
        rig.listeners.delete(LISTENER)
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
        rig.listeners.upload(LISTENER, OLD)
    successor = make_rig(memory_dir, rig.services)
    successor.listeners.recover()
    assert not layout.exists
    assert successor.operations.all()[-1].state is OperationState.UNDONE


def test_a_stopped_listener_needs_no_change_to_be_stopped(rig, running):
    running.stop(LISTENER)
    before = len(rig.operations.all())
    running.stop(LISTENER)
    assert len(rig.operations.all()) == before
