# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from amphora.health.counter_deltas import Entry, Ledger
from amphora.health.readings import Counters, ListenerReading, ProcessReading, SourceReading


def reading(generation, received, *, listener="L", origin="lb", replaced=False):
    counters = Counters(received, 2 * received, received // 2, 1)
    return ProcessReading(
        origin, generation, (ListenerReading(listener, "OPEN", 0, counters),), replaced=replaced
    )


def told(ledger, listener="L"):
    """Return the bytes received that a message would tell, which is then sent."""
    received = ledger.owed(listener).received
    ledger.settle([listener])
    return received


def test_the_first_message_tells_everything_and_later_ones_what_is_new():
    ledger = Ledger()
    ledger.note(reading("g1", 100))
    assert ledger.owed("L") == Counters(100, 200, 50, 1)
    assert told(ledger) == 100
    ledger.note(reading("g1", 130))
    ledger.note(reading("g1", 130))
    assert told(ledger) == 30
    assert told(ledger) == 0
    assert Ledger().owed("nobody") == Counters()


def test_a_reload_loses_nothing_although_the_new_counters_are_already_larger():
    ledger = Ledger()
    ledger.note(reading("g1", 100))
    told(ledger)
    ledger.note(reading("g1", 150, replaced=True))
    assert ledger.note(reading("g2", 400))
    ledger.note(reading("g1", 170, replaced=True))
    assert not ledger.note(reading("g2", 410))
    assert told(ledger) == 50 + 20 + 410
    ledger.forget(SourceReading((reading("g2", 410),), frozenset({"lb"}), frozenset({"g2"})))
    ledger.note(reading("g2", 411))
    assert told(ledger) == 1


def test_what_could_not_be_sent_is_told_later():
    ledger = Ledger()
    ledger.note(reading("g1", 100))
    ledger.note(reading("g1", 120))
    assert told(ledger) == 120


def test_a_restart_of_the_agent_goes_on_where_it_was():
    ledger = Ledger()
    ledger.note(reading("g1", 100))
    told(ledger)
    ledger.note(reading("g2", 7))
    again = Ledger(ledger.entries())
    again.note(reading("g2", 9))
    assert told(again) == 9


def test_a_reload_while_the_agent_was_away_is_seen_by_the_process_and_not_by_smaller_numbers():
    ledger = Ledger({"L": Entry(Counters(100, 0, 0, 0), "g1", "lb")})
    ledger.note(reading("g2", 150))
    assert told(ledger) == 150


def test_another_agents_entry_is_gone_on_from_by_smaller_numbers():
    for now, new in ((130, 30), (40, 40)):
        ledger = Ledger({"L": Entry(Counters(100, 200, 50, 1))})
        ledger.note(reading("g1", now))
        assert told(ledger) == new
        ledger.note(reading("g1", now + 5))
        assert told(ledger) == 5


def test_counters_of_deleted_things_are_forgotten():
    ledger = Ledger({"other": Entry(Counters(1, 1, 1, 1))})
    ledger.note(reading("g1", 100))
    ledger.note(reading("g1", 100, listener="out"))
    ledger.note(reading("g5", 100, listener="deleted", origin="lb2"))
    told(ledger, "out")
    ledger.forget(SourceReading((reading("g1", 100),), frozenset({"lb"}), frozenset({"g1"})))
    assert set(ledger.entries()) == {"L", "other"}


def test_counters_of_what_does_not_run_or_answer_now_are_kept():
    ledger = Ledger()
    ledger.note(reading("g1", 100))
    told(ledger)
    ledger.forget(SourceReading((), frozenset({"lb"})))
    ledger.note(reading("g1", 101))
    assert told(ledger) == 1


amounts = st.integers(0, 2**64)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("traffic"), amounts),
        st.sampled_from([("reload", 0), ("send", 0), ("restart the agent", 0), ("look", 0)]),
    ),
    max_size=30,
)


@given(steps)
def test_over_reloads_restarts_and_failed_sends_the_sum_told_is_the_traffic(actions):
    """Every counter of every process is looked at once more after its last traffic, as links make sure."""
    ledger, generation, counter, total, sum_told = Ledger(), 0, 0, 0, 0
    for action, amount in [*actions, ("look", 0), ("send", 0)]:
        if action == "traffic":
            counter, total = counter + amount, total + amount
            continue
        ledger.note(reading(f"g{generation}", counter, replaced=action == "reload"))
        if action == "reload":
            generation, counter = generation + 1, 0
            ledger.note(reading(f"g{generation}", 0))
        elif action == "send":
            sum_told += told(ledger)
        elif action == "restart the agent":
            ledger = Ledger(ledger.entries())
        ledger.forget(SourceReading((), frozenset({"lb"}), frozenset({f"g{generation}"})))
    assert sum_told == total


@given(st.tuples(*[amounts] * 4), st.tuples(*[amounts] * 4))
def test_what_is_new_is_never_negative_nor_more_than_was_counted(now, earlier):
    new = Counters(*now).since(Counters(*earlier))
    for after, before, difference in zip(
        now, earlier, (new.received, new.sent, new.connections, new.errors), strict=True
    ):
        assert difference == (after - before if after >= before else after)
