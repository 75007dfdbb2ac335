# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.core.interface_rules import InterfaceRules
from amphora.core.locks import InstanceLocks
from amphora.core.packet_filter import render_packet_filter
from amphora.core.rule_requests import parse_rules
from amphora.errors import OperationFailed, RulesFailed, StorageError
from amphora.system import files
from tests.support.core import FakeNftables

RULES = parse_rules([{"protocol": "TCP", "cidr": None, "port": 443}])
BASE, FULL = render_packet_filter("eth1", ()), render_packet_filter("eth1", RULES)


@pytest.fixture
def nftables():
    return FakeNftables()


@pytest.fixture
def rules(memory_dir, nftables):
    return InterfaceRules(memory_dir, nftables, InstanceLocks(), lambda: None)


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
    assert nftables.loaded == [BASE]
    assert [path.name for path in stored.parent.iterdir()] == [stored.name]
    assert stored.read_text() == BASE


def test_rules_that_cannot_be_stored_are_taken_back(rules, nftables, stored, monkeypatch):
    def refuse(*_paths):
        raise StorageError("no space left on device")

    monkeypatch.setattr(files, "rename", refuse)
    with pytest.raises(RulesFailed, match="no space"):
        rules.replace("eth1", RULES)
    stored.write_text(BASE)
    with pytest.raises(RulesFailed, match="no space"):
        rules.replace("eth1", RULES)
    assert nftables.loaded == [FULL, "delete table inet amphora_table", FULL, BASE]


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
