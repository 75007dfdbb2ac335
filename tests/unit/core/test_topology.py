# SPDX-License-Identifier: Apache-2.0
import logging
import threading

import pytest

from amphora.core.topology import Topology, TopologyKind, TopologyManager
from amphora.errors import OperationFailed, TopologyTransition
from amphora.models import Role

SINGLE = Topology(TopologyKind.SINGLE)
PAIR = Topology(TopologyKind.ACTIVE_STANDBY, Role.ACTIVE, "203.0.113.2", "b20e06cf1abc")


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
def manager(tmp_path, pair, operations):
    return TopologyManager(tmp_path / "topology.json", TopologyKind.SINGLE, pair, operations, time_limit=5)


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


def test_a_change_over_its_time_limit_goes_back(tmp_path, pair, caplog, operations):
    manager = TopologyManager(
        tmp_path / "topology.json", TopologyKind.SINGLE, pair, operations, time_limit=0.01
    )
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


@pytest.mark.parametrize("former", [SINGLE, PAIR])
def test_an_agent_killed_in_a_change_goes_back_at_its_next_start(tmp_path, former, operations):
    killed = FakePair()
    first = TopologyManager(tmp_path / "topology.json", TopologyKind.SINGLE, killed, operations, time_limit=5)
    if former == PAIR:
        first.change(PAIR)
        first.close()
    first._write(former, SINGLE if former == PAIR else PAIR)
    pair = FakePair()
    after = TopologyManager(tmp_path / "topology.json", TopologyKind.SINGLE, pair, operations, time_limit=5)
    after.recover()
    assert after.current() == former
    assert pair.calls == [("leave",) if former == SINGLE else ("form", PAIR)]
    after.recover()
    assert len(pair.calls) == 1


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
