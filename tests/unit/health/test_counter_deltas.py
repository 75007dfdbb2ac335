# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from amphora.health.counter_deltas import CounterDeltas, Entry
from amphora.health.readings import Counters, ListenerReading, ProcessReading, SourceReading


def reading(generation, received, *, listener="L", origin="lb", replaced=False):
    counters = Counters(received, 2 * received, received // 2, 1)
    return ProcessReading(
        origin, generation, (ListenerReading(listener, "OPEN", 0, counters),), replaced=replaced
    )


def told(deltas, listener="L"):
    """Return the bytes received that a message would tell, which is then sent."""
    received = deltas.unsent(listener).received
    deltas.mark_sent([listener])
    return received


def test_the_first_message_tells_everything_and_later_ones_what_is_new():
    deltas = CounterDeltas()
    deltas.note(reading("g1", 100))
    assert deltas.unsent("L") == Counters(100, 200, 50, 1)
    assert told(deltas) == 100
    deltas.note(reading("g1", 130))
    deltas.note(reading("g1", 130))
    assert told(deltas) == 30
    assert told(deltas) == 0
    assert CounterDeltas().unsent("nobody") == Counters()


def test_a_reload_loses_nothing_although_the_new_counters_are_already_larger():
    deltas = CounterDeltas()
    deltas.note(reading("g1", 100))
    told(deltas)
    deltas.note(reading("g1", 150, replaced=True))
    assert deltas.note(reading("g2", 400))
    deltas.note(reading("g1", 170, replaced=True))
    assert not deltas.note(reading("g2", 410))
    assert told(deltas) == 50 + 20 + 410
    deltas.forget(SourceReading((reading("g2", 410),), frozenset({"lb"}), frozenset({"g2"})))
    deltas.note(reading("g2", 411))
    assert told(deltas) == 1


def test_what_could_not_be_sent_is_told_later():
    deltas = CounterDeltas()
    deltas.note(reading("g1", 100))
    deltas.note(reading("g1", 120))
    assert told(deltas) == 120


def test_a_restart_of_the_agent_goes_on_where_it_was():
    deltas = CounterDeltas()
    deltas.note(reading("g1", 100))
    told(deltas)
    deltas.note(reading("g2", 7))
    again = CounterDeltas(deltas.entries())
    again.note(reading("g2", 9))
    assert told(again) == 9


def test_a_reload_while_the_agent_was_away_is_seen_by_the_process_and_not_by_smaller_numbers():
    deltas = CounterDeltas({"L": Entry(Counters(100, 0, 0, 0), "g1", "lb")})
    deltas.note(reading("g2", 150))
    assert told(deltas) == 150


def test_another_agents_entry_is_gone_on_from_by_smaller_numbers():
    for now, new in ((130, 30), (40, 40)):
        deltas = CounterDeltas({"L": Entry(Counters(100, 200, 50, 1))})
        deltas.note(reading("g1", now))
        assert told(deltas) == new
        deltas.note(reading("g1", now + 5))
        assert told(deltas) == 5


def test_counters_of_deleted_things_are_forgotten():
    deltas = CounterDeltas({"other": Entry(Counters(1, 1, 1, 1))})
    deltas.note(reading("g1", 100))
    deltas.note(reading("g1", 100, listener="out"))
    deltas.note(reading("g5", 100, listener="deleted", origin="lb2"))
    told(deltas, "out")
    deltas.forget(SourceReading((reading("g1", 100),), frozenset({"lb"}), frozenset({"g1"})))
    assert set(deltas.entries()) == {"L", "other"}


def test_counters_of_what_does_not_run_or_answer_now_are_kept():
    deltas = CounterDeltas()
    deltas.note(reading("g1", 100))
    told(deltas)
    deltas.forget(SourceReading((), frozenset({"lb"})))
    deltas.note(reading("g1", 101))
    assert told(deltas) == 1


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
    deltas, generation, counter, total, sum_told = CounterDeltas(), 0, 0, 0, 0
    for action, amount in [*actions, ("look", 0), ("send", 0)]:
        if action == "traffic":
            counter, total = counter + amount, total + amount
            continue
        deltas.note(reading(f"g{generation}", counter, replaced=action == "reload"))
        if action == "reload":
            generation, counter = generation + 1, 0
            deltas.note(reading(f"g{generation}", 0))
        elif action == "send":
            sum_told += told(deltas)
        elif action == "restart the agent":
            deltas = CounterDeltas(deltas.entries())
        deltas.forget(SourceReading((), frozenset({"lb"}), frozenset({f"g{generation}"})))
    assert sum_told == total


@given(st.tuples(*[amounts] * 4), st.tuples(*[amounts] * 4))
def test_what_is_new_is_never_negative_nor_more_than_was_counted(now, earlier):
    new = Counters(*now).since(Counters(*earlier))
    for after, before, difference in zip(
        now, earlier, (new.received, new.sent, new.connections, new.errors), strict=True
    ):
        assert difference == (after - before if after >= before else after)
