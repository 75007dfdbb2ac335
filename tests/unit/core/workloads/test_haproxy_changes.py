# SPDX-License-Identifier: Apache-2.0
"""Starts and reloads: the order of steps, and what is left after a failure at each of them."""

import pytest

from amphora.core.changes.journal import OperationState
from amphora.errors import InstanceActionFailed, OperationFailed, ProofFailed, ServiceError, StorageError
from amphora.models import ActionKind, ServiceState, ServiceStatus
from tests.unit.core.conftest import ID, NEW, OLD


@pytest.fixture
def running(rig):
    rig.haproxy(ID).upload(OLD)
    rig.haproxy(ID).start()
    rig.engine.steps.clear()
    rig.processes.machine.calls.clear()
    return rig


def names(layout):
    return sorted(path.name for path in layout.directory.iterdir())


SETTLED = ["agent.cfg", "haproxy.cfg", "proven.cfg", "running.cfg"]


def test_a_start_takes_every_step_in_order(rig, layout):
    rig.haproxy(ID).upload(OLD)
    rig.engine.steps.clear()
    result = rig.haproxy(ID).start()
    assert rig.engine.steps == ["stage", "preflight", "swap", "start"]
    assert (result.kind, result.pid, result.is_unchanged) == (ActionKind.STARTED, 1000, False)
    assert result.evidence.startswith("worker 2 of master 1000 serves")
    assert layout.running.read_bytes() == layout.proven.read_bytes() == OLD
    assert names(layout) == SETTLED


def test_an_upload_touches_no_process(running, layout):
    running.haproxy(ID).upload(NEW)
    assert layout.stored.read_bytes() == NEW
    assert layout.running.read_bytes() == OLD
    assert running.processes.machine.calls == []


@pytest.mark.parametrize("step", ["stage", "preflight"])
def test_what_fails_before_the_swap_touches_no_process(running, layout, step):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {step: [OperationFailed("address in use")]}
    with pytest.raises(InstanceActionFailed) as caught:
        running.haproxy(ID).reload()
    assert caught.value.action == "reload"
    assert "address in use" in str(caught.value)
    assert "No process was touched. The last proven configuration is stored again." in str(caught.value)
    assert running.processes.machine.calls == []
    assert layout.stored.read_bytes() == layout.running.read_bytes() == OLD
    assert names(layout) == SETTLED


def test_a_reload_that_is_not_proven_is_undone_by_another(running, layout):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("not open: frontend new")]}
    with pytest.raises(InstanceActionFailed, match=r"(?s)not open.*goes on with its last proven"):
        running.haproxy(ID).reload()
    assert running.engine.steps[-4:] == ["swap", "reload", "restore_files", "reload"]
    assert layout.stored.read_bytes() == layout.running.read_bytes() == layout.proven.read_bytes() == OLD
    assert names(layout) == SETTLED


def test_a_haproxy_that_ended_during_a_reload_is_started_from_the_proven_configuration(running, layout):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("haproxy has ended")]}
    running.engine.before_failure = lambda: running.processes.stop(layout.service_name)
    with pytest.raises(InstanceActionFailed, match="had ended and was started again"):
        running.haproxy(ID).reload()
    assert layout.running.read_bytes() == OLD
    assert running.processes.status(layout.service_name).state is ServiceState.RUNNING


def test_a_failed_first_start_keeps_the_upload_and_stops(rig, layout):
    rig.haproxy(ID).upload(NEW)
    rig.engine.fail_at = {"start": [ProofFailed("not open")]}
    with pytest.raises(InstanceActionFailed, match="none was ever proven"):
        rig.haproxy(ID).start()
    assert rig.processes.status(layout.service_name).state is ServiceState.STOPPED
    assert layout.stored.read_bytes() == NEW
    assert names(layout) == ["agent.cfg", "haproxy.cfg"]


def test_a_failed_later_start_brings_the_proven_configuration_back(running, layout):
    running.haproxy(ID).stop()
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {"start": [ProofFailed("not open")]}
    with pytest.raises(InstanceActionFailed, match="haproxy is stopped, as it was before"):
        running.haproxy(ID).start()
    assert layout.stored.read_bytes() == layout.running.read_bytes() == OLD


def test_a_failed_restore_is_told_beside_the_first_failure(running, layout):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {
        "reload": [ProofFailed("first failure")],
        "restore_files": [StorageError("disk full")],
    }
    with pytest.raises(InstanceActionFailed, match=r"(?s)first failure.*Additionally.*disk full"):
        running.haproxy(ID).reload()
    assert running.operations.interrupted(ID).state is OperationState.FAILED
    running.catalog.recover_haproxies()
    assert layout.stored.read_bytes() == layout.running.read_bytes() == layout.proven.read_bytes()
    assert names(layout) == SETTLED


def test_a_restore_that_cannot_be_proven_leaves_the_proven_configuration_stored(running, layout):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {"reload": [ProofFailed("first failure"), ProofFailed("second failure")]}
    with pytest.raises(InstanceActionFailed, match=r"(?s)first failure.*Additionally.*second failure"):
        running.haproxy(ID).reload()
    assert layout.stored.read_bytes() == layout.running.read_bytes() == layout.proven.read_bytes() == OLD
    assert names(layout) == SETTLED
    running.catalog.recover_haproxies()
    assert running.operations.interrupted(ID) is None
    assert [each.state for each in running.operations.all()][-2:] == [
        OperationState.UNDONE,
        OperationState.DONE,
    ]
    assert layout.running.read_bytes() == OLD


def test_one_that_has_crashed_does_not_stay_stopped_when_its_reload_fails(running, layout):
    running.haproxy(ID).upload(NEW)
    running.processes.machine.statuses[layout.service_name] = ServiceStatus(ServiceState.STARTING)
    running.engine.fail_at = {"reload": [ProofFailed("not open")]}
    with pytest.raises(InstanceActionFailed, match="had ended and was started again"):
        running.haproxy(ID).reload()
    assert running.processes.status(layout.service_name).state is ServiceState.RUNNING
    assert layout.running.read_bytes() == OLD


def test_an_unexpected_error_is_undone_as_well(running, layout):
    running.haproxy(ID).upload(NEW)
    running.engine.fail_at = {"reload": [RuntimeError("a defect")]}
    with pytest.raises(InstanceActionFailed, match="a defect"):
        running.haproxy(ID).reload()
    assert layout.running.read_bytes() == OLD


def interrupted(rig, layout, step):
    """Leave the files as an agent killed at a step would."""
    rig.haproxy(ID).upload(NEW)
    rig.engine.fail_at = {step: [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        rig.haproxy(ID).reload()
    rig.engine.steps.clear()


@pytest.mark.parametrize("step", ["swap", "reload"])
def test_an_interrupted_reload_is_finished_at_the_next_start(running, layout, step):
    interrupted(running, layout, step)
    running.catalog.recover_haproxies()
    assert layout.running.read_bytes() == layout.proven.read_bytes() == NEW
    assert names(layout) == SETTLED


@pytest.mark.parametrize("failing", ["preflight", "reload"])
def test_an_interrupted_reload_that_cannot_be_finished_is_undone(running, layout, failing):
    interrupted(running, layout, "reload")
    running.engine.fail_at = {failing: [ProofFailed("no")]}
    running.catalog.recover_haproxies()
    assert running.engine.steps[-2:] == ["restore_files", "reload"]
    assert layout.running.read_bytes() == layout.stored.read_bytes() == OLD
    assert names(layout) == SETTLED


def test_an_interrupted_first_start_that_runs_is_proven_later(rig, layout):
    rig.haproxy(ID).upload(NEW)
    rig.engine.fail_at = {"start": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        rig.haproxy(ID).start()
    rig.catalog.recover_haproxies()
    assert layout.proven.read_bytes() == NEW
    assert rig.processes.status(layout.service_name).state is ServiceState.RUNNING


def test_an_interrupted_start_that_does_not_run_stays_stopped(rig, layout):
    rig.haproxy(ID).upload(NEW)
    rig.engine.fail_at = {"swap": [KeyboardInterrupt()]}
    with pytest.raises(KeyboardInterrupt):
        rig.haproxy(ID).start()
    rig.catalog.recover_haproxies()
    assert rig.processes.status(layout.service_name).pid is None
    assert rig.operations.interrupted(ID) is None
    assert layout.stored.read_bytes() == NEW


def test_one_instance_that_cannot_be_recovered_does_not_keep_others_from_it(running, layout):
    interrupted(running, layout, "reload")
    instance = running.haproxy("99999999-5862-4a13-b9e3-9b440d0ed50a")
    instance.upload(OLD)
    other = instance.files
    other.staged.write_bytes(b"left over")
    running.processes.fail_next("status", ServiceError("no bus"))
    running.catalog.recover_haproxies()
    assert not other.staged.exists()
