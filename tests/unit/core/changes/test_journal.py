# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.changes.journal import Journal, Operation, OperationState, StepRecord, read_journal
from amphora.errors import StorageError

IDENTITY = "7d0b3e1c-0000-4000-8000-000000000001"


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "operations")
    journal.prepare()
    return journal


def operation(target="one", began=1.0):
    return Operation(IDENTITY, "reload", target, began)


def test_a_change_is_read_back_as_far_as_it_came(journal):
    journal.begin(operation())
    journal.note("one", {"begins": "stage"})
    journal.note("one", {"seconds": 0.25, "begins": "apply"})
    (found,) = journal.read_all()
    assert (found.identity, found.kind, found.target, found.began) == (IDENTITY, "reload", "one", 1.0)
    assert found.state is OperationState.UNDER_WAY
    assert found.steps == [StepRecord("stage", 0.25), StepRecord("apply")]
    assert found.last_step == "apply"


@pytest.mark.parametrize(("former", "now"), [("act", "apply"), ("keep", "commit"), ("swap", "swap")])
def test_a_journal_of_a_former_release_is_read_under_the_present_names(journal, former, now):
    journal.begin(operation())
    journal.note("one", {"begins": former})
    (found,) = journal.read_all()
    assert (found.last_step, found.state) == (now, OperationState.UNDER_WAY)


def test_the_outcome_is_read_back(journal):
    journal.begin(operation())
    journal.note("one", {"state": "undone", "reason": "no", "evidence": "as before"})
    (found,) = journal.read_all()
    assert (found.state, found.reason, found.evidence) == (OperationState.UNDONE, "no", "as before")


def test_a_target_has_its_last_change_only(journal):
    journal.begin(operation(began=1.0))
    journal.begin(operation(began=2.0))
    assert [found.began for found in journal.read_all()] == [2.0]


def test_changes_come_in_the_order_in_which_they_began(journal):
    for target, began in (("b", 3.0), ("a", 2.0), ("c", 1.0)):
        journal.begin(operation(target, began))
    assert [found.target for found in journal.read_all()] == ["c", "a", "b"]


@pytest.mark.parametrize("target", ["fa:16:3e:00:00:01", "../../etc/passwd", "x" * 300, "a/b.pem", ""])
def test_any_target_has_a_journal_in_the_directory(journal, tmp_path, target):
    journal.begin(operation(target))
    assert [found.target for found in journal.read_all()] == [target]
    assert [path.name for path in tmp_path.iterdir()] == ["operations"]
    journal.forget(target)
    assert journal.read_all() == []


@pytest.mark.parametrize(
    "damaged",
    [
        b"[1]\n",
        b"[" * 100_000,
        b'{"operation":"i","kind":"k","target":"\\ud800","began":1}\n',
        b'{"operation":"i","kind":"k","target":"t","began":1e999}\n',
        b'{"operation":"i","kind":"k","target":"t","began":NaN}\n',
        b'{"operation":"i","kind":"k","target":"t","began":-1}\n',
    ],
)
def test_a_journal_that_cannot_be_read_is_passed_over(journal, tmp_path, caplog, damaged):
    journal.begin(operation())
    (tmp_path / "operations" / "odd.journal").write_bytes(damaged)
    assert [found.target for found in journal.read_all()] == ["one"]
    assert "odd.journal" in caplog.text


@pytest.mark.parametrize("damaged", [b"[" * 100_000, b'{"begins":"act","seconds":1e999}', b'{"begins":'])
def test_a_damaged_line_is_passed_over(journal, tmp_path, damaged):
    journal.begin(operation())
    path = tmp_path / "operations" / "one.journal"
    path.write_bytes(path.read_bytes() + damaged + b'\n{"begins":"stage"}\n')
    (found,) = journal.read_all()
    assert found.steps == [StepRecord("stage")]


def test_nothing_is_noted_where_nothing_began(journal):
    with pytest.raises(StorageError):
        journal.note("one", {"begins": "stage"})


@given(st.integers(min_value=0))
def test_whatever_a_crash_tears_off_the_rest_is_read(cut):
    head = b'{"operation":"i","kind":"reload","target":"t","began":1}\n'
    events = b'{"begins":"stage"}\n{"begins":"act","seconds":1}\n{"state":"done","evidence":"e"}\n'
    found = read_journal(head + events[: cut % (len(events) + 1)])
    assert found.target == "t"
    assert len(found.steps) <= 2


@given(st.binary())
def test_anything_else_is_refused_or_read(data):
    try:
        read_journal(data)
    except (ValueError, KeyError, TypeError):
        return
