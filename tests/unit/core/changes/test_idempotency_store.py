# SPDX-License-Identifier: Apache-2.0
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.changes import idempotency_store as module
from amphora.core.changes.idempotency_store import CAPACITY, LIFETIME, IdempotencyStore, StoredResponse
from amphora.errors import Busy, KeyReused

DONE = StoredResponse(202, (("Content-Type", "application/json"),), b"{}")


class Work:
    """Counts how often it was done."""

    def __init__(self, answer=DONE):
        self.answer = answer
        self.count = 0

    def __call__(self):
        self.count += 1
        return self.answer


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(memory_dir):
    return memory_dir / "answers"


@pytest.fixture
def answered(directory, clock):
    return IdempotencyStore(directory, timeout=30.0, now=clock)


@pytest.fixture
def again(directory, clock):
    """Starts the agent again."""

    def start():
        started = IdempotencyStore(directory, now=clock)
        started.recover()
        return started

    return start


def test_nothing_is_made_on_disk_before_the_first_key(answered, directory):
    answered.recover()
    assert not directory.exists()


def test_an_answer_is_forgotten_after_its_lifetime(answered, clock, directory):
    work = Work()
    answered.once("old", "r", work)
    clock.now += LIFETIME - 1
    answered.once("old", "r", work)
    assert work.count == 1
    clock.now += 1
    # The key is free for another request.
    answered.once("old", "another", work)
    assert work.count == 2
    clock.now += LIFETIME
    answered.once("new", "r", work)
    assert len(list(directory.iterdir())) == 1


def test_the_oldest_answers_give_way(answered, directory, again):
    work = Work()
    for number in range(CAPACITY + 3):
        answered.once(f"k{number}", "r", work)
    assert len(list(directory.iterdir())) == CAPACITY
    for service in (answered, again()):
        work.count = 0
        service.once("k3", "r", work)
        assert work.count == 0
    answered.once("k0", "r", work)
    assert work.count == 1


def test_old_answers_are_not_taken_up(answered, clock, directory, again):
    answered.once("k", "r", Work())
    clock.now += LIFETIME
    again()
    assert list(directory.iterdir()) == []


def test_a_clock_that_was_ahead_makes_no_answer_last_for_ever(answered, clock):
    work = Work()
    clock.now += 2 * LIFETIME
    answered.once("k", "r", work)
    clock.now -= 2 * LIFETIME
    answered.once("k", "r", work)
    assert work.count == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"null",
        b"[]",
        b"{}",
        b'{"status": 200}',
        b"[" * 100_000,
        b'{"headers": [1], "status": "x"}',
        b'{"request": "r", "moment": 1e6, "status": 200, "headers": [], "body": 5}',
        b'{"request": "r", "moment": 1e6, "status": 1e999, "headers": [], "body": ""}',
        b'{"request": "r", "moment": 1e6, "status": 99999, "headers": [], "body": ""}',
    ],
)
def test_a_file_that_cannot_be_read_is_removed_and_the_others_count(answered, directory, again, content):
    answered.once("good", "r", Work())
    (directory / ("0" * 64)).write_bytes(content)
    started, work = again(), Work()
    assert started.once("good", "r", work) == DONE
    assert work.count == 0
    assert len(list(directory.iterdir())) == 1


def test_what_is_no_answer_of_ours_is_left_alone(answered, directory, again):
    answered.once("good", "r", Work())
    (directory / "README").write_bytes(b"x")
    (directory / ".amphora-tmp-1").write_bytes(b"x")
    again()
    assert {path.name for path in directory.iterdir() if len(path.name) != 64} == {"README"}


def test_without_room_on_the_disk_it_is_remembered_in_memory(answered, directory, caplog):
    directory.write_bytes(b"where a directory should be")
    work = Work()
    for _ in range(2):
        assert answered.once("k", "r", work) == DONE
    assert work.count == 1
    assert "in memory only" in caplog.text


def test_what_is_not_final_is_done_anew(answered, directory):
    work = Work(StoredResponse(500, (), b"", is_final=False))
    for _ in range(2):
        answered.once("k", "r", work)
    assert work.count == 2
    assert not directory.exists()


def test_everybody_who_waits_gets_an_error_and_it_is_not_remembered(answered):
    begun, let_go = threading.Event(), threading.Event()

    def fail():
        begun.set()
        assert let_go.wait(30)
        raise ValueError("no")

    errors = []

    def call():
        try:
            answered.once("k", "r", fail)
        except ValueError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=call) for _ in range(3)]
    threads[0].start()
    assert begun.wait(30)
    for thread in threads[1:]:
        thread.start()
    with pytest.raises(KeyReused):
        answered.once("k", "another", Work())
    let_go.set()
    for thread in threads:
        thread.join(30)
    assert errors == ["no"] * 3
    assert answered.once("k", "r", Work()) == DONE


def test_waiting_for_the_first_attempt_times_out(directory):
    answered = IdempotencyStore(directory, timeout=0.01)

    def ask_again():
        with pytest.raises(Busy):
            answered.once("k", "r", Work())
        return DONE

    assert answered.once("k", "r", ask_again) == DONE


headers = st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=3).map(tuple)


@given(st.builds(StoredResponse, st.integers(200, 499), headers, st.binary(max_size=100)), st.floats(0, 1e10))
def test_any_answer_is_read_as_it_was_written(answer, moment):
    record = module._Record("digest", answer, moment)
    assert module._parsed(module._serialized(record)) == record
