# SPDX-License-Identifier: Apache-2.0
import logging
import re
import threading
import time
import uuid

import pytest

from amphora.errors import OperationFailed
from amphora.health.counter_deltas import CounterStore
from amphora.health.heartbeat import Heartbeat, HeartbeatSettings
from amphora.health.readings import Counters, ListenerReading, PoolReading, ProcessReading, SourceReading
from tests.support.heartbeats import AMPHORA_ID, KEY

HOUR = 3600.0


class Source:
    """Says what a test wants it to."""

    def __init__(self, listener="L", pool="P"):
        self.listener, self.pool = listener, pool
        self.status, self.received, self.generation = "UP", 0, "g1"
        self.error = None
        self.read_once = threading.Semaphore(0)

    def read(self, timeout):
        self.read_once.release()
        if self.error:
            raise self.error
        listener = ListenerReading(self.listener, "OPEN", 1, Counters(self.received))
        pools = (PoolReading(self.pool, self.status, {"M": self.status}),)
        process = ProcessReading("lb", self.generation, (listener,), pools)
        return SourceReading((process,), frozenset({"lb"}), frozenset({self.generation}))

    def close(self):
        pass


class Rig:
    """A heartbeat over a source that is told what to say."""

    def __init__(self, path, *entries, interval=HOUR, sources=None, **settings):
        self.source = Source()
        self.withheld, self.drift = False, ""
        self.settings = {"key": KEY, "amphora_id": AMPHORA_ID, **settings}
        self.store = CounterStore(path / "stats_counters.json")
        self.heartbeat = Heartbeat(
            self.with_settings(*entries, interval=interval),
            sources or [self.source],
            self.store,
            lambda: self.withheld,
            lambda: self.drift,
        )

    def with_settings(self, *entries, interval=HOUR, **settings):
        return HeartbeatSettings(entries, interval, **{**self.settings, **settings})


@pytest.fixture
def make_rig(tmp_path):
    made = []

    def make(*entries, start=True, **options):
        made.append(Rig(tmp_path, *entries, **options))
        if start:
            made[-1].heartbeat.start()
        return made[-1]

    yield make
    for rig in made:
        rig.heartbeat.close()


def received(message):
    return message["listeners"]["L"]["stats"]["rx"]


def test_the_first_goes_out_at_once(make_rig, make_receiver):
    receiver = make_receiver()
    make_rig(receiver.entry)
    message = receiver.next()
    assert (message["id"], message["seq"], message["ver"]) == (AMPHORA_ID, 0, 3)
    assert message["pools"] == {"P": {"status": "UP", "members": {"M": "UP"}}}


def test_controllers_take_turns_over_both_families(make_rig, make_receiver):
    first, second = make_receiver(), make_receiver("::1")
    make_rig(first.entry, second.entry, interval=0.1)
    assert [first.next()["seq"] for _ in range(3)] == [0, 2, 4]
    assert [second.next()["seq"] for _ in range(3)] == [1, 3, 5]


def test_bytes_are_told_once(make_rig, make_receiver):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, interval=0.1)
    rig.source.received = 70
    messages = receiver.until(lambda message: received(message) > 0)
    assert sum(received(each) for each in [*messages, receiver.next(), receiver.next()]) == 70


def test_a_change_is_told_at_once(make_rig, make_receiver):
    receiver = make_receiver()
    rig = make_rig(receiver.entry)
    assert receiver.next()["pools"]["P"]["status"] == "UP"
    rig.source.status = "DOWN"
    assert receiver.next()["pools"]["P"]["status"] == "DOWN"


def test_changes_in_quick_succession_are_told_together(make_rig, make_receiver):
    receiver = make_receiver()
    rig = make_rig(receiver.entry)
    receiver.next()
    began = time.monotonic()
    for number in range(200):
        rig.source.status = f"X{number}"
        rig.heartbeat.wake()
        assert rig.source.read_once.acquire(timeout=10)
    told = receiver.until(lambda message: message["pools"]["P"]["status"] == "X199")
    assert len(told) <= 1 + (time.monotonic() - began) / 2


def test_while_keepalived_is_missing_neither_number_nor_counters_move(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False, interval=0.1)
    rig.withheld, rig.source.received = True, 30
    rig.heartbeat.start()
    for _ in range(3):
        rig.heartbeat.wake()
        assert rig.source.read_once.acquire(timeout=10)
    assert receiver.waiting() == []
    rig.source.received, rig.withheld = 50, False
    message = receiver.next()
    assert (message["seq"], received(message)) == (0, 50)
    assert caplog.text.count("keepalived should run and does not") == 1


def test_one_source_that_fails_takes_nothing_from_the_others(make_rig, make_receiver, caplog):
    """As when one protocol's engine misses a file of its own."""
    receiver, bad, broken = make_receiver(), Source("X"), Source("Y")
    bad.error, broken.error = OperationFailed("no such file"), OSError("odd")
    rig = make_rig(receiver.entry, sources=[bad, Source("L", "P"), broken, Source("Z", "Q")], interval=0.1)
    assert [set(receiver.next()["listeners"]) for _ in range(3)] == [{"L", "Z"}] * 3
    rig.heartbeat.close()
    assert caplog.text.count("odd") == 1


def test_a_fault_of_our_own_does_not_end_it(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False)
    rig.source.error = RuntimeError("unforeseen")
    rig.heartbeat.start()
    assert rig.source.read_once.acquire(timeout=10)
    rig.source.error = None
    assert receiver.next()["seq"] == 0
    assert "unforeseen" in caplog.text


def test_key_and_controllers_change_while_it_runs(make_rig, make_receiver, caplog):
    caplog.set_level(logging.DEBUG)
    old, new = make_receiver(), make_receiver(key="another key & more")
    rig = make_rig(old.entry)
    old.next()
    rig.heartbeat.reconfigure(rig.with_settings(new.entry, key=new.key))
    assert new.next()["seq"] == 1
    rig.heartbeat.reconfigure(rig.with_settings())
    rig.heartbeat.reconfigure(rig.with_settings(old.entry, amphora_id="guessed"))
    assert old.next()["id"] == AMPHORA_ID
    assert "the id stays" in caplog.text
    assert not any(key in caplog.text + repr(rig.settings | {"key": ""}) for key in (KEY, new.key))
    assert KEY not in repr(rig.with_settings())


@pytest.mark.parametrize(
    ("settings", "missing"),
    [({"key": ""}, "heartbeat_key"), ({"amphora_id": ""}, "amphora_id"), ({}, "controller_ip_port_list")],
)
def test_what_it_cannot_do_without_is_said_once_and_may_come_later(
    make_rig, make_receiver, caplog, settings, missing
):
    receiver = make_receiver()
    rig = make_rig(*((receiver.entry,) if settings else ()), **settings)
    deadline = time.monotonic() + 10
    while missing not in caplog.text and time.monotonic() < deadline:
        rig.heartbeat.wake()
        time.sleep(0.01)
    assert receiver.waiting() == []
    rig.heartbeat.reconfigure(rig.with_settings(receiver.entry, key=KEY, amphora_id=AMPHORA_ID))
    assert receiver.next()["seq"] == 0
    (said,) = [record.getMessage() for record in caplog.records if missing in record.getMessage()]
    assert said.startswith("heartbeat: none is sent, since [")


def test_what_could_not_be_sent_is_told_to_the_next_controller(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    # Datagrams to a broadcast address are refused to an ordinary socket.
    rig = make_rig("255.255.255.255:9", receiver.entry, interval=0.1)
    rig.source.received = 70
    messages = receiver.until(lambda message: received(message) > 0)
    assert [each["seq"] for each in messages] == list(range(len(messages)))
    assert rig.store.load()["L"].unsent == Counters()


def test_what_could_be_sent_to_nobody_stays_owed(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig("255.255.255.255:9", start=False, interval=0.1)
    rig.source.received = 70
    rig.heartbeat.start()
    for _ in range(3):
        rig.heartbeat.wake()
        assert rig.source.read_once.acquire(timeout=10)
    rig.heartbeat.reconfigure(rig.with_settings(receiver.entry))
    assert received(receiver.next()) == 70
    assert caplog.text.count("255.255.255.255: Permission denied") == 1


def test_a_restart_of_the_agent_tells_what_is_new_only(make_rig, make_receiver):
    receiver = make_receiver()
    first = make_rig(receiver.entry, start=False)
    first.source.received = 70
    first.heartbeat.start()
    assert received(receiver.next()) == 70
    first.heartbeat.close()
    second = make_rig(receiver.entry, start=False)
    second.source.received = 90
    second.heartbeat.start()
    message = receiver.next()
    assert (message["seq"], received(message)) == (0, 20)


def test_an_oversize_message_is_said_once_and_goes_out_reduced(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False, interval=0.1)
    rig.source.read = lambda _timeout: SourceReading((crowded(),))
    rig.heartbeat.start()
    messages = [receiver.next() for _ in range(2)]
    assert [each["pools"]["P"]["members"] for each in messages] == [{}, {}]
    assert caplog.text.count("too large, so without the members of the largest pools") == 1


def test_too_many_listeners_for_any_message_are_an_error_in_the_log(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False, interval=0.1)
    names = [str(uuid.uuid4()) for _ in range(5000)]
    listeners = tuple(ListenerReading(name, "OPEN", 0, Counters()) for name in names)
    too_many = SourceReading((ProcessReading("lb", "g1", listeners),))
    readings = iter([too_many, too_many])
    rig.source.read = lambda _timeout: next(readings, SourceReading())
    rig.heartbeat.start()
    message = receiver.next()
    assert (message["seq"], message["listeners"]) == (2, {})
    assert caplog.text.count("too large, so without everything") == 1


def drift_lines(caplog):
    return [message for message in caplog.messages if message.startswith("drift: ")]


def test_drift_is_logged_when_it_changes_and_only_then(make_rig, make_receiver, caplog):
    caplog.set_level(logging.INFO)
    receiver = make_receiver()
    rig = make_rig(receiver.entry, interval=0.05)
    for drift in ("", "links 1", "links 1, vip 2", ""):
        rig.drift = drift
        # What is sent second was read after the change.
        for _ in range(4):
            receiver.next()
    assert drift_lines(caplog) == ["drift: links 1", "drift: links 1, vip 2", "drift: recovered"]


def test_an_ordinary_log_has_one_of_many_heartbeats_with_the_drift(make_rig, make_receiver, caplog):
    caplog.set_level(logging.DEBUG)
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False, interval=0.05)
    rig.drift = "services 3"
    rig.heartbeat.start()
    for _ in range(4):
        receiver.next()
    sent = [record for record in caplog.records if " sent, " in record.getMessage()]
    assert [record.levelno for record in sent[:3]] == [logging.INFO, logging.DEBUG, logging.DEBUG]
    assert re.fullmatch(r"heartbeat 0 sent, \d+ bytes; drift: services 3", sent[0].getMessage())


def test_the_message_tells_nothing_of_drift(make_rig, make_receiver):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, interval=0.05)
    before = receiver.next()
    rig.drift = "links 1"
    after = [receiver.next() for _ in range(4)][-1]
    assert {**after, "seq": 0, "recv": 0} == {**before, "seq": 0, "recv": 0}


def test_drift_is_logged_though_nothing_is_sent(make_rig, make_receiver, caplog):
    receiver = make_receiver()
    rig = make_rig(receiver.entry, start=False, interval=0.1)
    rig.withheld, rig.drift = True, "configs 1"
    rig.heartbeat.start()
    for _ in range(2):
        rig.heartbeat.wake()
        assert rig.source.read_once.acquire(timeout=10)
    rig.heartbeat.close()
    assert receiver.waiting() == []
    assert drift_lines(caplog) == ["drift: configs 1"]


def crowded():
    members = {str(uuid.uuid4()): "UP" for _ in range(5000)}
    listener = ListenerReading("L", "OPEN", 0, Counters())
    return ProcessReading("lb", "g1", (listener,), (PoolReading("P", "UP", members),))


def test_it_ends_quickly_and_may_be_closed_unstarted(make_rig, make_receiver):
    receiver = make_receiver()
    rig = make_rig(receiver.entry)
    receiver.next()
    began = time.monotonic()
    rig.heartbeat.close()
    rig.heartbeat.close()
    assert time.monotonic() - began < 5
    make_rig(start=False).heartbeat.close()
