# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.changes.journal import Journal, OperationState
from amphora.core.changes.locks import INTERFACES, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.drift.network import RulesInspector
from amphora.core.network.interface_rules import TARGET, InterfaceRules
from amphora.core.network.packet_filter import parse_rules, render_packet_filter
from amphora.errors import OperationFailed, RulesFailed, StorageError
from amphora.models import DriftReason
from amphora.system import files
from tests.support.core import FakeNftables

RULES = parse_rules([{"protocol": "TCP", "cidr": None, "port": 443}])
BASE, FULL = render_packet_filter("eth1", ()), render_packet_filter("eth1", RULES)


@pytest.fixture
def nftables():
    return FakeNftables()


@pytest.fixture
def operations(memory_dir):
    return Operations(Journal(memory_dir / "operations"))


@pytest.fixture
def rules(memory_dir, nftables, operations):
    return InterfaceRules(memory_dir, nftables, InstanceLocks(), lambda: None, operations)


def successor(memory_dir, nftables):
    """Return what the next agent has, and its changes."""
    operations = Operations(Journal(memory_dir / "operations"))
    operations.recover()
    return InterfaceRules(memory_dir, nftables, InstanceLocks(), lambda: None, operations), operations


@pytest.fixture
def stored(memory_dir):
    return memory_dir / "nftables-vip.rules"


def test_the_first_rules_ever_take_effect(rules, nftables, stored):
    for _ in range(2):
        rules.replace("eth1", RULES)
    assert nftables.loaded == [FULL, FULL]
    assert (stored.read_text(), stored.stat().st_mode & 0o777) == (FULL, 0o600)


def test_no_rules_take_away_those_of_the_last_listener(rules, nftables, stored):
    rules.replace("eth1", RULES)
    rules.replace("eth1", ())
    assert (nftables.loaded[-1], stored.read_text()) == (BASE, BASE)


@pytest.mark.parametrize("successes", [0, 1])
def test_refused_rules_leave_the_former_ones(rules, nftables, stored, successes):
    rules.replace("eth1", ())
    nftables.errors = [OperationFailed("syntax error")]
    if successes:
        nftables.check = lambda _path: None
    with pytest.raises(RulesFailed, match="syntax error"):
        rules.replace("eth1", RULES)
    # What failed to load is followed by what was in force.
    assert nftables.loaded == [BASE] * (1 + successes)
    assert {path.name for path in stored.parent.iterdir()} == {stored.name, "operations"}
    assert stored.read_text() == BASE


def refuse_renaming(monkeypatch):
    rename = files.rename

    def refuse(source, target):
        if target.name == "nftables-vip.rules":
            raise StorageError("no space left on device")
        rename(source, target)

    monkeypatch.setattr(files, "rename", refuse)


def test_rules_that_cannot_be_stored_are_taken_back(rules, nftables, stored, monkeypatch):
    refuse_renaming(monkeypatch)
    with pytest.raises(RulesFailed, match="no space"):
        rules.replace("eth1", RULES)
    stored.write_text(BASE)
    with pytest.raises(RulesFailed, match="no space"):
        rules.replace("eth1", RULES)
    assert nftables.loaded == [FULL, "delete table inet amphora_table", FULL, BASE]


def test_nobody_is_let_in_because_the_file_was_removed_before_a_failure(rules, nftables, stored, monkeypatch):
    rules.replace("eth1", ())
    stored.unlink()
    refuse_renaming(monkeypatch)
    with pytest.raises(RulesFailed):
        rules.replace("eth1", RULES)
    assert nftables.loaded == [BASE, FULL, BASE]


def test_rules_that_are_not_those_in_force_are_not_proven(rules, nftables, stored):
    rules.replace("eth1", ())
    proven = rules.proven
    # nft says that it has loaded them, and has not.
    nftables.load = lambda path: nftables.loaded.append(BASE)
    with pytest.raises(RulesFailed, match="other rules than those loaded"):
        rules.replace("eth1", RULES)
    assert (stored.read_text(), rules.proven) == (BASE, proven)


@pytest.mark.parametrize("ruled_before", [True, False])
@pytest.mark.parametrize("step", ["stage", "check", "apply", "prove", "commit", "end"])
def test_the_next_agent_settles_what_was_cut_off(memory_dir, rules, nftables, stored, step, ruled_before):
    if ruled_before:
        rules.replace("eth1", ())
    cut_off(rules, memory_dir, step)
    rules, operations = successor(memory_dir, nftables)
    interrupted = operations.interrupted(TARGET)
    rules.recover()
    told = operations.get(interrupted.identity).state
    if step == "end":
        assert (told, stored.read_text(), nftables.loaded[-1]) == (OperationState.DONE, FULL, FULL)
    else:
        assert told is OperationState.UNDONE
        assert (stored.read_text() if stored.exists() else None) == (BASE if ruled_before else None)
        assert nftables.content("inet", "amphora_table") == (BASE.encode() if ruled_before else None)
    assert not stored.with_name(f"{stored.name}.new").exists()


def cut_off(rules, memory_dir, step):
    """Let the journal and the files be as after a kill at the beginning of a step, or after the last."""
    journal = memory_dir / "operations" / f"{TARGET}.journal"
    stored, staged = rules.path, rules.path.with_name(f"{rules.path.name}.new")
    former = stored.read_text() if stored.exists() else None
    rules.replace("eth1", RULES)
    lines = journal.read_bytes().splitlines(keepends=True)
    begins = [number for number, line in enumerate(lines) if f'"begins":"{step}"'.encode() in line]
    journal.write_bytes(b"".join(lines[: begins[0] + 1] if begins else lines[:-1]))
    if step != "end":
        stored.rename(staged)
        if former is not None:
            stored.write_text(former)
    if step in ("stage", "check", "apply"):
        loaded = rules._nftables.loaded
        loaded.pop()


def test_drift_of_what_is_stored_and_of_what_is_in_force(rules, nftables, stored):
    inspector = RulesInspector(rules)

    def reasons():
        return [each.reason for each in inspector.inspect(INTERFACES)]

    assert (reasons(), inspector.heal(INTERFACES, [])) == ([], "")
    rules.replace("eth1", RULES)
    assert reasons() == []
    for spoil, reason in (
        (stored.unlink, DriftReason.STORED_MISSING),
        (lambda: stored.write_text(BASE), DriftReason.STORED_EDITED),
        (lambda: nftables.apply("delete table inet amphora_table"), DriftReason.FILTER_MISSING),
        (lambda: nftables.apply(BASE), DriftReason.FILTER_DIFFERS),
    ):
        spoil()
        assert reasons() == [reason]
        assert inspector.heal(INTERFACES, inspector.inspect(INTERFACES))
        assert (reasons(), stored.read_text(), nftables.loaded[-1]) == ([], FULL, FULL)


def test_rules_that_could_never_be_loaded_are_drift_that_nobody_can_heal(rules, nftables, stored):
    stored.write_text("broken by another agent")
    nftables.errors = [OperationFailed("syntax error")]
    with pytest.raises(RulesFailed):
        rules.recover()
    inspector = RulesInspector(rules)
    found = inspector.inspect(INTERFACES)
    assert [each.reason for each in found] == [DriftReason.FILTER_DIFFERS]
    assert inspector.heal(INTERFACES, found) == ""


def test_a_port_is_protected_before_any_rule_is_known(rules, nftables, stored):
    rules.protect("eth1")
    assert (nftables.loaded, stored.read_text()) == ([BASE], BASE)
    rules.replace("eth1", RULES)
    rules.protect("eth1")
    assert (nftables.loaded[-1], stored.read_text()) == (FULL, FULL)


def test_a_boot_without_rules_makes_none(rules, nftables, stored):
    rules.recover()
    assert (nftables.loaded, stored.exists()) == ([], False)


def test_a_boot_restores_rules_and_forgets_what_was_staged(rules, nftables, stored):
    stored.write_text(FULL)
    stored.with_name(f"{stored.name}.new").write_text("half")
    rules.recover()
    assert nftables.loaded == [FULL]
    assert not stored.with_name(f"{stored.name}.new").exists()


def test_a_broken_file_lets_nobody_in(rules, nftables, stored):
    stored.write_text("broken by another agent")
    nftables.errors = [OperationFailed("syntax error")]
    with pytest.raises(RulesFailed):
        rules.recover()
    assert nftables.loaded == [BASE]
