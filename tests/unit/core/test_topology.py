# SPDX-License-Identifier: Apache-2.0
import logging
import threading
from dataclasses import replace

import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.operations import Operations
from amphora.core.topology import StoredTopology, Topology, TopologyKind, TopologyManager
from amphora.errors import InvalidInput, OperationFailed, StorageError, TopologyTransition
from amphora.models import Role
from amphora.system import files

SINGLE = Topology(TopologyKind.SINGLE)
PAIR = Topology(TopologyKind.ACTIVE_STANDBY, Role.ACTIVE, "203.0.113.2", "b20e06cf1abc")

NOWHERE = replace(PAIR, ha_ip="203.0.113.9")


class FakePair:
    """Notes what is asked of it; may be told to fail or to wait."""

    def __init__(self):
        self.calls = []
        self.errors = []
        self.actual_role = Role.STANDBY
        self.entered = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def _called(self, call):
        self.calls.append(call)
        self.entered.set()
        self.may_go_on.wait(10)
        if self.errors:
            raise self.errors.pop(0)

    def require_interface(self, topology):
        if topology.ha_ip == NOWHERE.ha_ip:
            raise InvalidInput("Invalid ha_ip")

    def form_pair(self, topology):
        self._called(("form", topology))

    def leave_pair(self):
        self._called(("leave",))

    def role(self):
        return self.actual_role


@pytest.fixture
def pair():
    return FakePair()


@pytest.fixture
def make_manager(tmp_path):
    """Give the manager of an agent that has just started."""

    def make(pair):
        operations = Operations(Journal(tmp_path / "operations"))
        operations.recover()
        stored = StoredTopology(tmp_path / "topology.json", TopologyKind.SINGLE)
        return TopologyManager(stored, pair, operations, time_limit=5)

    return make


@pytest.fixture
def manager(make_manager, pair):
    return make_manager(pair)


def last_state(tmp_path):
    (last,) = Journal(tmp_path / "operations").read_all()
    return last.state


def test_the_default_is_in_force_until_it_is_changed(manager, pair):
    assert manager.current() == SINGLE
    assert manager.role() is None
    assert manager.is_active()
    assert pair.calls == []


def test_a_change_runs_in_the_background_and_is_stored(manager, pair, tmp_path):
    pair.may_go_on.clear()
    assert manager.change(PAIR) is True
    assert manager.is_changing()
    assert manager.current() == SINGLE
    pair.may_go_on.set()
    manager.close()
    assert not manager.is_changing()
    assert manager.current() == PAIR
    assert (tmp_path / "topology.json").stat().st_mode & 0o777 == 0o600


def test_nothing_else_may_change_meanwhile(manager, pair):
    pair.may_go_on.clear()
    manager.change(PAIR)
    for refused in (manager.refuse_during_change, lambda: manager.change(SINGLE)):
        with pytest.raises(TopologyTransition):
            refused()
    pair.may_go_on.set()
    manager.close()
    manager.refuse_during_change()


def test_the_same_topology_changes_nothing(manager, pair):
    assert manager.change(SINGLE) is False
    manager.change(PAIR)
    manager.close()
    assert manager.change(PAIR) is False
    assert len(pair.calls) == 1


def test_the_role_is_what_keepalived_is(manager, pair):
    manager.change(PAIR)
    manager.close()
    assert (manager.role(), manager.is_active()) == (Role.STANDBY, False)
    pair.actual_role = Role.ACTIVE
    assert (manager.role(), manager.is_active()) == (Role.ACTIVE, True)


def test_a_failed_change_goes_back_and_is_logged(manager, pair, caplog):
    pair.errors = [OperationFailed("no interface")]
    manager.change(PAIR)
    manager.close()
    assert manager.current() == SINGLE
    assert pair.calls == [("form", PAIR), ("leave",)]
    assert "no interface" in caplog.text


def test_a_pair_without_an_interface_for_its_address_is_not_begun(manager, pair):
    with pytest.raises(InvalidInput, match="ha_ip"):
        manager.change(NOWHERE)
    assert (manager.is_changing(), manager.current(), manager.error(), pair.calls) == (False, SINGLE, "", [])


def test_a_failure_is_told_until_the_next_change(make_manager, pair):
    manager = make_manager(pair)
    assert manager.error() == ""
    pair.errors = [OperationFailed("keepalived is gone")]
    manager.change(PAIR)
    manager.close()
    told = manager.error()
    assert told.splitlines()[0] == "keepalived is gone"
    assert f"{SINGLE}, as before" in told
    with pytest.raises(InvalidInput):
        manager.change(NOWHERE)
    after = make_manager(pair)
    after.recover()
    assert (manager.error(), after.error()) == (told, told)
    pair.may_go_on.clear()
    after.change(PAIR)
    assert after.error() == ""
    pair.may_go_on.set()
    after.close()
    assert after.error() == ""


def test_a_failure_that_is_undone_at_the_next_start_keeps_its_reason(make_manager, pair):
    manager = make_manager(pair)
    pair.errors = [OperationFailed("first"), OperationFailed("second")]
    manager.change(PAIR)
    manager.close()
    assert "first" in manager.error()
    assert "second" in manager.error()
    after = make_manager(pair)
    after.recover()
    assert after.error() == f"first\nThe topology is {SINGLE}, as before."


def test_a_change_over_its_time_limit_goes_back(tmp_path, pair, caplog, operations):
    stored = StoredTopology(tmp_path / "topology.json", TopologyKind.SINGLE)
    manager = TopologyManager(stored, pair, operations, time_limit=0.01)
    pair.may_go_on.clear()
    manager.change(PAIR)
    pair.entered.wait(5)
    threading.Timer(0.1, pair.may_go_on.set).start()
    manager.close()
    assert manager.current() == SINGLE
    assert "more than 0.01 s" in caplog.text


def test_a_restore_that_fails_too_still_ends_the_change(manager, pair, caplog):
    pair.errors = [OperationFailed("first"), OperationFailed("second")]
    manager.change(PAIR)
    manager.close()
    assert not manager.is_changing()
    assert "second" in caplog.text


@pytest.mark.parametrize(("former", "wanted"), [(SINGLE, PAIR), (PAIR, SINGLE)])
def test_an_agent_killed_in_a_change_goes_back_at_its_next_start(make_manager, pair, former, wanted):
    if former == PAIR:
        first = make_manager(pair)
        first.change(PAIR)
        first.close()
    cut_off = FakePair()
    cut_off.may_go_on.clear()
    killed = make_manager(cut_off)
    killed.change(wanted)
    assert cut_off.entered.wait(5)
    pair.calls.clear()
    after = make_manager(pair)
    for _ in range(2):
        after.recover()
        assert after.current() == former
        assert "the agent ended in the middle of it" in after.error()
        assert pair.calls == [("leave",) if former == SINGLE else ("form", PAIR)]
    cut_off.may_go_on.set()
    killed.close()


def test_what_could_not_be_undone_is_tried_again_at_the_next_start(make_manager, pair, tmp_path):
    failing = make_manager(pair)
    pair.errors = [OperationFailed("first"), OperationFailed("second")]
    failing.change(PAIR)
    failing.close()
    assert last_state(tmp_path) is OperationState.FAILED
    pair.errors = [OperationFailed("third")]
    for state in (OperationState.FAILED, OperationState.UNDONE):
        make_manager(pair).recover()
        assert last_state(tmp_path) is state
    assert pair.calls == [("form", PAIR), *[("leave",)] * 3]


def test_a_change_whose_last_words_fail_is_made(make_manager, tmp_path, pair, monkeypatch):
    manager = make_manager(pair)
    rename = files.rename

    def rename_and_fail(*paths):
        rename(*paths)
        raise StorageError("not durable")

    monkeypatch.setattr(files, "rename", rename_and_fail)
    manager.change(PAIR)
    manager.close()
    assert (manager.current(), last_state(tmp_path)) == (PAIR, OperationState.DONE)
    assert pair.calls == [("form", PAIR)]


def test_the_secret_is_never_logged(manager, pair, caplog):
    pair.errors = [OperationFailed("no interface")]
    with caplog.at_level(logging.DEBUG):
        manager.change(PAIR)
        manager.close()
    assert PAIR.secret not in caplog.text
    assert PAIR.secret not in repr(PAIR)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"current": {}}', b'{"current": null, "wanted": null}']
)
def test_a_damaged_state_file_means_the_default(manager, tmp_path, damage):
    (tmp_path / "topology.json").write_bytes(damage)
    assert manager.current() == SINGLE
