# SPDX-License-Identifier: Apache-2.0
"""What counts as drift, what is told of it, and when it is healed."""

import logging
import threading

import pytest

from amphora.core.changes.locks import InstanceLocks
from amphora.core.drift.drift import Drift, DriftSettings, HealingLimit
from amphora.core.drift.file_baseline import FileBaseline
from amphora.errors import OperationFailed
from amphora.models import Difference, DriftArea, DriftReason

DOWN = Difference(DriftArea.LINKS, "eth1", DriftReason.LINK_DOWN, "up", "down")
LOST = Difference(DriftArea.ADDRESSES, "eth1", DriftReason.ADDRESS_MISSING, "192.0.2.1/24", "absent")
WAITS = Difference(DriftArea.CONFIGS, "one", DriftReason.PENDING_RELOAD, "a", "b")


class Scripted:
    """An inspector that finds one list after the other, and the last one from then on."""

    group = "interfaces"
    areas = frozenset({DriftArea.LINKS})

    def __init__(self, *looks):
        self.looks = list(looks)
        self.healed = []
        self.errors = []
        self.answer = "done"
        self.meanwhile = lambda: None

    def targets(self):
        return ("one",)

    def inspect(self, target):
        self.meanwhile()
        found = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(found, Exception):
            raise found
        return found

    def heal(self, target, differences):
        self.healed.append((target, list(differences)))
        if self.errors:
            raise self.errors.pop(0)
        return self.answer


class Bench:
    """Drift over one scripted inspector and a clock that tests turn."""

    def __init__(self, *looks, healed=("interfaces",)):
        self.inspector = Scripted(*looks)
        self.locks = InstanceLocks(timeout=1.0)
        self.now = 0.0
        self.under_way = set()
        self.drift = Drift(
            (self.inspector,),
            self.locks,
            FileBaseline(lambda _name: ()),
            DriftSettings(60.0, frozenset(healed)),
            under_way=lambda: self.under_way,
            limit=HealingLimit(first_pause=10.0, clock=lambda: self.now),
            settling=0.0,
        )

    def reasons(self):
        return [finding.difference.reason for finding in self.drift.check().drift]


def test_nothing_was_looked_at_before_the_first_look():
    result = Bench([]).drift.result()
    assert (result.checked_at, result.drift) == (None, ())


def test_what_is_seen_twice_is_told_with_the_moment_it_was_first_seen():
    bench = Bench([DOWN, LOST], healed=())
    (first, second) = bench.drift.check().drift
    assert (first.difference, second.difference) == (DOWN, LOST)
    later = bench.drift.check()
    assert [finding.since for finding in later.drift] == [first.since, second.since]
    assert later.checked_at > first.since
    counts = bench.drift.counts().drift
    assert (counts[DriftArea.LINKS], counts[DriftArea.ADDRESSES], counts[DriftArea.VIP]) == (1, 1, 0)


def test_what_is_gone_a_moment_later_is_no_drift():
    assert Bench([DOWN, LOST], [LOST], healed=()).reasons() == [DriftReason.ADDRESS_MISSING]


def test_pending_changes_are_told_apart_and_counted_nowhere():
    bench = Bench([WAITS])
    result = bench.drift.check()
    bench.drift.check()
    assert [finding.difference for finding in result.pending] == [WAITS]
    assert result.drift == ()
    assert set(bench.drift.counts().drift.values()) == {0}
    assert bench.inspector.healed == []


def test_an_object_under_change_is_no_drift():
    bench = Bench([DOWN])
    with bench.locks.hold("one"):
        assert bench.reasons() == []
    assert bench.reasons() == [DriftReason.LINK_DOWN]
    bench.under_way = {"one"}
    assert bench.reasons() == []


def test_a_change_that_begins_during_a_look_makes_it_void():
    bench = Bench([DOWN])

    def change():
        with bench.locks.hold("one"):
            pass

    bench.inspector.meanwhile = change
    assert bench.reasons() == []
    assert bench.drift.result().unchecked == {}


def test_what_cannot_be_found_out_is_told_as_such():
    bench = Bench(OperationFailed("the kernel does not answer"))
    assert bench.drift.check().unchecked == {"interfaces of one": "the kernel does not answer"}


def test_a_defect_in_one_place_takes_nothing_from_the_others(caplog):
    bench = Bench(TypeError("oh"), healed=())
    other = Scripted([LOST])
    drift = Drift(
        (bench.inspector, other), bench.locks, FileBaseline(lambda _: ()), DriftSettings(), settling=0.0
    )
    assert [finding.difference for finding in drift.check().drift] == [LOST]
    assert "Traceback" in caplog.text


def test_counts_are_logged_when_they_change_and_only_then(caplog):
    caplog.set_level(logging.WARNING)
    bench = Bench([], [DOWN], [DOWN], [DOWN], [DOWN], [], healed=())
    for _ in range(4):
        bench.drift.check()
    lines = [message for message in caplog.messages if message.startswith("drift:")]
    assert lines == ["drift: links 1 (before: none)", "drift: none (before: links 1)"]
    assert "eth1: link-down: up, found: down" in caplog.messages


def test_counts_are_words_for_those_that_are_not_zero():
    bench = Bench([DOWN, LOST], healed=())
    assert str(bench.drift.counts()) == ""
    bench.drift.check()
    assert str(bench.drift.counts()) == "links 1, addresses 1"


def test_drift_is_healed_when_it_was_there_an_interval_ago():
    bench = Bench([DOWN])
    bench.drift.check()
    assert bench.inspector.healed == []
    bench.drift.check()
    assert bench.inspector.healed == [("one", [DOWN])]
    assert bench.drift.counts().healed["interfaces"] == 1


def test_nothing_is_healed_unless_its_group_is_chosen():
    bench = Bench([DOWN], healed=("configs", "vip"))
    for _ in range(3):
        bench.drift.check()
    assert bench.inspector.healed == []
    bench.drift.reconfigure(DriftSettings(60.0, frozenset({"interfaces"})))
    bench.drift.check()
    assert len(bench.inspector.healed) == 1


def test_attempts_are_spaced_further_and_further_apart(caplog):
    bench = Bench([DOWN])
    bench.inspector.errors = [OperationFailed("no such link")] * 9
    attempts = []
    for second in range(100):
        bench.now = float(second)
        before = len(bench.inspector.healed)
        bench.drift.check()
        attempts += [second] * (len(bench.inspector.healed) - before)
    assert attempts == [1, 11, 31, 71]
    assert bench.drift.counts().failed["interfaces"] == 4
    assert "drift of one could not be healed: no such link" in caplog.text


def test_healing_that_does_nothing_is_not_counted():
    bench = Bench([DOWN])
    bench.inspector.answer = ""
    for _ in range(3):
        bench.drift.check()
    assert len(bench.inspector.healed) == 2
    assert bench.drift.counts().healed["interfaces"] == 0


def test_whoever_asks_has_a_look_taken_by_the_thread_and_waits_for_nothing():
    bench = Bench([])
    seen = threading.Semaphore(0)
    bench.inspector.meanwhile = seen.release
    bench.drift.start()
    try:
        assert seen.acquire(timeout=10)
        bench.drift.ask()
        assert seen.acquire(timeout=10), "no look was taken before the interval was over"
    finally:
        bench.drift.close()


def test_without_an_interval_nothing_is_looked_at():
    bench = Bench([DOWN])
    bench.drift.reconfigure(DriftSettings(interval=0.0))
    bench.drift.start()
    bench.drift.ask()
    bench.drift.close()
    assert bench.drift.result().checked_at is None


@pytest.mark.parametrize("pauses", [1, 3])
def test_an_object_that_stayed_well_for_as_long_as_the_pause_begins_anew(pauses):
    clock = [0.0]
    limit = HealingLimit(first_pause=10.0, clock=lambda: clock[0])
    key = ("Inspector", "one")
    for _ in range(pauses):
        assert limit.may_try(key)
        limit.tried(key)
        clock[0] += 10.0 * 2**pauses
    limit.drifting(frozenset())
    clock[0] += 10.0 * 2 ** (pauses - 1) - 0.1
    limit.drifting(frozenset())
    limit.tried(key)
    assert not limit.may_try(key)
    clock[0] += 10.0
    assert not limit.may_try(key), "it counts as healed too soon"
