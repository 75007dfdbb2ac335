# SPDX-License-Identifier: Apache-2.0
"""The order of steps, and what is left after a failure at each of them."""

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.locks import KEEPALIVED, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.core.workloads.workload import WorkloadContext
from amphora.errors import (
    InvalidConfiguration,
    OperationFailed,
    ProofFailed,
    ServiceError,
    StorageError,
    VrrpActionFailed,
    VrrpNotConfigured,
)
from amphora.models import ActionKind, ActionResult, Role, ServiceState
from amphora.system import files
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.joining import Gate, together
from tests.support.workloads import Engine, FakeVrrpWorkload

OLD = b"vrrp_instance v1 {\n    interface lo\n    priority 100\n}\n"
NEW = b"vrrp_instance v1 {\n    interface lo\n    priority 101\n}\n"
#: With a route as controllers write it; keepalived knows another word for its next hop.
ROUTED = OLD.replace(b"}\n", b"    virtual_routes {\n        10.9.0.0/24 gateway 10.0.0.1 dev lo\n    }\n}\n")
SERVICE = "octavia-keepalived"


class Rig:
    def __init__(self, base_path):
        self.layout = VrrpFiles(base_path)
        self.processes = FakeProcessManager()
        self.engine = Engine()
        self.operations = Operations(Journal(base_path / "operations"))
        context = WorkloadContext(self.processes, self.operations, InstanceLocks(5.0))
        self.vrrp = FakeVrrpWorkload(self.layout, context, self.engine)

    def die(self):
        self.processes.stop(SERVICE)

    def state(self):
        return self.processes.status(SERVICE).state

    def names(self):
        return sorted(path.name for path in self.layout.directory.iterdir() if path.is_file())


@pytest.fixture
def rig(memory_dir):
    rig = Rig(memory_dir)
    yield rig
    rig.vrrp.close()


@pytest.fixture
def running(rig):
    rig.vrrp.upload(OLD)
    rig.vrrp.start()
    return rig


SETTLED = ["agent.conf", "octavia-keepalived.conf", "proven.conf", "running.conf"]


def test_a_start_takes_up_the_upload(running):
    assert running.layout.running.read_bytes() == running.layout.proven.read_bytes() == OLD
    assert running.names() == SETTLED
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in running.layout.directory.iterdir())


def test_without_a_configuration_there_is_nothing_to_run(rig):
    for action in (rig.vrrp.start, rig.vrrp.reload, rig.vrrp.configuration):
        with pytest.raises(VrrpNotConfigured):
            action()
    assert rig.vrrp.stop() == ActionResult(ActionKind.STOPPED, is_unchanged=True)
    assert rig.vrrp.role() is Role.UNKNOWN
    rig.vrrp.recover()


def test_keepalived_checks_each_upload_once(rig):
    rig.vrrp.upload(OLD)
    assert rig.engine.keepalived.checks == 1


@pytest.mark.parametrize("bad", [OLD + b"BAD_LINE\n", b"global_defs {\n}\n", b""])
def test_a_refused_upload_leaves_everything(running, bad):
    with pytest.raises(InvalidConfiguration):
        running.vrrp.upload(bad)
    assert running.vrrp.configuration() == OLD
    assert running.names() == SETTLED


def test_what_the_controller_uploaded_wins_over_the_default(rig):
    rig.vrrp.set_default(OLD)
    assert rig.vrrp.configuration() == OLD
    rig.vrrp.upload(NEW)
    assert rig.vrrp.configuration() == NEW
    rig.vrrp.set_default(None)
    assert rig.vrrp.configuration() == NEW


def test_a_default_that_is_taken_back_takes_along_what_a_failure_has_left(rig):
    rig.vrrp.set_default(OLD)
    rig.layout.staged.touch()
    rig.vrrp.set_default(None)
    assert rig.names() == []


def test_a_start_of_a_running_keepalived_is_a_reload(running):
    pid = running.processes.status(SERVICE).pid
    for result in (running.vrrp.start(), running.vrrp.reload()):
        assert (result.kind, result.pid) == (ActionKind.RELOADED, pid)


def test_a_reload_that_is_not_proven_is_undone_by_another(running):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("not read")]}
    with pytest.raises(VrrpActionFailed, match=r"(?s)not read.*goes on with its last proven") as failure:
        running.vrrp.reload()
    assert failure.value.action == "reload"
    assert running.layout.running.read_bytes() == running.vrrp.configuration() == OLD
    assert running.names() == SETTLED


def test_a_keepalived_that_ended_over_a_reload_is_started_from_the_proven_configuration(running):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("has ended")]}
    running.engine.before_failure = running.die
    with pytest.raises(VrrpActionFailed, match="had ended and was started again"):
        running.vrrp.reload()
    assert running.state() is ServiceState.RUNNING
    assert running.layout.running.read_bytes() == OLD


def test_a_keepalived_that_cannot_be_reloaded_back_is_started_anew(running):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("first"), ProofFailed("second")]}
    with pytest.raises(VrrpActionFailed, match="was started again"):
        running.vrrp.reload()
    assert running.state() is ServiceState.RUNNING


def test_a_failed_first_start_keeps_the_upload_and_stops(rig):
    rig.vrrp.upload(OLD)
    rig.engine.fail_at = {"start": [ProofFailed("no state")]}
    with pytest.raises(VrrpActionFailed, match=r"(?s)no state.*is stopped.*none was ever proven"):
        rig.vrrp.start()
    assert rig.state() is ServiceState.STOPPED
    assert rig.vrrp.configuration() == OLD
    assert not rig.layout.running.exists()


def test_a_default_that_was_proven_comes_back_as_the_default(rig):
    rig.vrrp.set_default(OLD)
    rig.vrrp.start()
    rig.vrrp.upload(NEW)
    rig.engine.fail_at = {"reload": [ProofFailed("no")]}
    with pytest.raises(VrrpActionFailed):
        rig.vrrp.reload()
    assert rig.vrrp.configuration() == OLD
    assert not rig.layout.stored.exists()


def test_a_failed_restore_is_told_and_tried_again_later(running):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {
        "reload": [ProofFailed("first")],
        "restore_files": [OperationFailed("disk full")],
    }
    with pytest.raises(VrrpActionFailed, match=r"(?s)first.*Additionally.*disk full"):
        running.vrrp.reload()
    assert running.operations.interrupted(KEEPALIVED).state is OperationState.FAILED
    running.vrrp.recover()
    assert running.operations.interrupted(KEEPALIVED) is None
    assert running.layout.running.read_bytes() == running.layout.proven.read_bytes() == NEW


def test_a_reload_whose_restore_went_back_before_it_failed_is_told_as_undone(running):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("no")], "unstage": [OperationFailed("late")]}
    with pytest.raises(VrrpActionFailed, match=r"(?s)no.*Additionally.*late"):
        running.vrrp.reload()
    running.vrrp.recover()
    assert running.vrrp.configuration() == running.layout.proven.read_bytes() == OLD
    (reload, *_) = [each for each in running.operations.all() if each.kind == "reload"]
    assert reload.state is OperationState.UNDONE


@pytest.mark.parametrize("step", ["swap", "reload"])
def test_an_interrupted_reload_is_finished_at_the_next_start(running, step):
    running.vrrp.upload(NEW)
    running.engine.fail_at = {step: [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        running.vrrp.reload()
    running.vrrp.recover()
    assert running.layout.proven.read_bytes() == NEW
    assert running.operations.interrupted(KEEPALIVED) is None
    assert set(running.names()) - {"states.json"} == set(SETTLED)


def test_an_upload_cut_off_after_it_was_stored_is_told_as_done(running):
    running.engine.fail_at = {"unstage": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        running.vrrp.upload(NEW)
    running.vrrp.recover()
    assert running.vrrp.configuration() == NEW
    assert running.operations.all()[-1].state is OperationState.DONE


def test_an_interrupted_start_that_does_not_run_stays_stopped(rig):
    rig.vrrp.upload(OLD)
    rig.engine.fail_at = {"swap": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        rig.vrrp.start()
    rig.vrrp.recover()
    assert rig.state() in (ServiceState.ABSENT, ServiceState.STOPPED)
    assert rig.names() == ["agent.conf", "octavia-keepalived.conf"]


def test_an_interrupted_start_that_cannot_be_finished_is_stopped_again(running):
    running.vrrp.stop()
    running.vrrp.upload(NEW)
    running.engine.fail_at = {"start": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        running.vrrp.start()
    interrupted = running.operations.interrupted(KEEPALIVED)
    running.engine.fail_at = {"reload": [ProofFailed("no")]}
    running.vrrp.recover()
    assert running.operations.get(interrupted.identity).state is OperationState.UNDONE
    assert running.state() is ServiceState.STOPPED
    assert running.vrrp.configuration() == OLD


def test_a_stop_that_fails_says_why(running):
    running.processes.fail_next("stop", ServiceError("process 5 survived"))
    with pytest.raises(VrrpActionFailed, match="process 5 survived") as failure:
        running.vrrp.stop()
    assert failure.value.action == "stop"
    assert (running.vrrp.stop().kind, running.state()) == (ActionKind.STOPPED, ServiceState.STOPPED)


@pytest.mark.parametrize(
    ("call", "step"),
    [
        (lambda vrrp: vrrp.upload(NEW), "check"),
        (lambda vrrp: vrrp.set_default(NEW), "check"),
        (lambda vrrp: vrrp.start(), "prove"),
        (lambda vrrp: vrrp.reload(), "prove"),
    ],
    ids=["upload", "default", "start", "reload"],
)
def test_a_request_that_comes_again_meanwhile_is_done_once(rig, call, step):
    rig.vrrp.upload(OLD)
    before = len(rig.operations.all())
    held = rig.engine.keepalived if step == "check" else rig.engine
    answers = together(Gate(held, step), lambda: call(rig.vrrp))
    assert answers == [answers[0]] * 4
    assert isinstance(answers[0], str | ActionResult)
    assert len(rig.operations.all()) == before + 1


@pytest.mark.parametrize("start_again", [False, True])
def test_what_is_put_back_is_what_was_uploaded(rig, start_again):
    rig.vrrp.upload(ROUTED)
    rig.vrrp.start()
    assert b"via 10.0.0.1" in rig.layout.running.read_bytes()
    ran = rig.layout.running.read_bytes()
    rig.vrrp.upload(NEW)
    rig.engine.fail_at = {"reload": [ProofFailed("no")]}
    if start_again:
        rig.engine.before_failure = rig.die
    with pytest.raises(VrrpActionFailed):
        rig.vrrp.reload()
    assert (rig.vrrp.configuration(), rig.layout.proven.read_bytes()) == (ROUTED, ROUTED)
    assert rig.layout.running.read_bytes() == ran
    assert rig.names() == SETTLED


@pytest.mark.parametrize("step", ["check", "apply"])
def test_going_back_needs_no_room_on_the_disk(running, monkeypatch, step):
    running.vrrp.upload(NEW)
    apply = running.vrrp.apply

    def fill_the_disk(*arguments):
        monkeypatch.setattr(files, "write_atomically", full)
        monkeypatch.setattr(running.vrrp, "apply", apply)
        raise OperationFailed("first")

    def full(path, *_):
        raise StorageError(f"{path}: no space left")

    monkeypatch.setattr(running.vrrp, step, fill_the_disk)
    with pytest.raises(VrrpActionFailed, match="first") as failure:
        running.vrrp.reload()
    assert "Additionally" not in str(failure.value)
    monkeypatch.undo()
    assert running.vrrp.configuration() == running.layout.running.read_bytes() == OLD
    assert running.names() == SETTLED


def test_an_interrupted_reload_is_undone_to_what_was_uploaded(rig):
    rig.vrrp.upload(ROUTED)
    rig.vrrp.start()
    rig.vrrp.upload(NEW)
    rig.engine.fail_at = {"reload": [KeyboardInterrupt(), ProofFailed("again")]}
    with pytest.raises(KeyboardInterrupt):
        rig.vrrp.reload()
    rig.vrrp.recover()
    assert rig.vrrp.configuration() == rig.layout.proven.read_bytes() == ROUTED
    assert b"via" in rig.layout.running.read_bytes()
