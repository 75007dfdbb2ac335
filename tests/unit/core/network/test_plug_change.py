# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from ipaddress import ip_interface

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.operations import Operations
from amphora.core.network.plug_change import PlugChange, settle_plugs
from amphora.errors import ChangeFailed, OperationFailed, StorageError
from amphora.models import InterfaceConfig
from amphora.testing.fake_network import FakeNetwork

MAC = "fa:16:3e:00:00:01"
OLD = InterfaceConfig("eth2", MAC, addresses=(ip_interface("10.0.0.5/24"),))
NEW = replace(OLD, addresses=(ip_interface("10.0.1.6/24"),))
BOOM = OperationFailed("boom")


class Cut(BaseException):
    """The end of an agent."""


class Stage:
    """A port on a fake network and a journal; ``begin`` is a new agent."""

    def __init__(self, directory, former):
        self._directory = directory
        self.network = FakeNetwork()
        self.wires = self.network.wires
        self.former = former
        self.wires.plug(MAC)
        if former:
            self.network.persist(former)
            self.network.activate(former)

    def make(self, config=NEW):
        PlugChange(self.network, config, self.former, self.former is not None).make(self.begin())

    def begin(self):
        operations = Operations(Journal(self._directory))
        operations.recover()
        return operations

    def state(self):
        return self.wires.stored.get("eth2"), self.wires.active.get("eth2")

    def last(self):
        (operation,) = Journal(self._directory).read_all()
        return operation.state, operation.evidence

    def cut(self, method, afterwards):
        """End the agent at a call of a driver's method, or after it."""
        plainly = getattr(self.network, method)

        def cut(*arguments):
            setattr(self.network, method, plainly)
            if afterwards:
                plainly(*arguments)
            raise Cut

        setattr(self.network, method, cut)


@pytest.fixture(params=[None, OLD], ids=["new port", "port in use"])
def stage(tmp_path, request):
    return Stage(tmp_path / "operations", request.param)


def test_what_was_proven_is_the_evidence(stage):
    stage.make()
    assert stage.state() == (NEW, NEW)
    assert stage.last() == (OperationState.DONE, "eth2 is up with 10.0.1.6/24")


def test_an_interface_that_does_not_hold_what_it_should_is_undone(stage, monkeypatch):
    activate = stage.network.activate
    half = replace(NEW, addresses=())
    monkeypatch.setattr(stage.network, "activate", lambda config: activate(half if config == NEW else config))
    with pytest.raises(ChangeFailed, match=r"eth2: address-missing: 10\.0\.1\.6/24, found absent"):
        stage.make()
    assert stage.state() == (stage.former, stage.former)
    assert stage.last()[0] is OperationState.UNDONE
    assert (MAC in stage.wires.plugged) is (stage.former is None)


def test_a_failure_after_all_was_done_does_not_undo_it(stage):
    stage.network.fail_next("differences", BOOM)
    stage.make()
    assert stage.state() == (NEW, NEW)
    assert stage.last()[0] is OperationState.DONE


def test_nothing_is_written_to_go_back_to_what_is_stored_still(stage):
    for method in ("persist", "persist", "forget"):
        stage.network.fail_next(method, StorageError("full"))
    with pytest.raises(ChangeFailed, match="full"):
        stage.make()
    assert stage.state() == (stage.former, stage.former)
    assert stage.last()[0] is OperationState.UNDONE


@pytest.mark.parametrize("afterwards", [False, True])
@pytest.mark.parametrize("method", ["persist", "activate", "differences"])
def test_the_next_agent_tells_what_became_of_one_that_was_cut_off(stage, method, afterwards):
    stage.cut(method, afterwards)
    with pytest.raises(Cut):
        stage.make()
    operations = stage.begin()
    stage.network.restore()
    settle_plugs(stage.network, operations)
    is_made = (method, afterwards) != ("persist", False)
    wanted = NEW if is_made else stage.former
    assert stage.state() == (wanted, wanted)
    assert stage.last()[0] is (OperationState.DONE if is_made else OperationState.UNDONE)


def test_what_cannot_be_found_out_is_told_as_failed(stage):
    stage.cut("activate", afterwards=True)
    with pytest.raises(Cut):
        stage.make()
    stage.network.fail_next("differences", BOOM)
    settle_plugs(stage.network, stage.begin())
    assert stage.last()[0] is OperationState.FAILED
    settle_plugs(stage.network, stage.begin())
    assert stage.last()[0] is OperationState.DONE
