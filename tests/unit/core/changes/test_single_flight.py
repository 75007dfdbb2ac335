# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from amphora.core.changes.single_flight import SingleFlight


class Work:
    """Counts how often it was done; each time waits until it is let go."""

    def __init__(self):
        self.state = 1
        self.seen = []
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Semaphore(0)

    def __call__(self):
        self.seen.append(self.state)
        self.begun.release()
        assert self.let_go.acquire(timeout=20)
        return f"saw {self.seen[-1]}"


class Callers:
    def __init__(self, flight, work):
        self._flight, self._work = flight, work
        self.answers, self.threads = [], []

    def call(self):
        asked = threading.Event()

        def wanted():
            asked.set()
            return self._work.state

        def run():
            try:
                self.answers.append(self._flight.run("key", wanted, self._work))
            except ValueError as error:
                self.answers.append(str(error))

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()
        assert asked.wait(20)

    def join(self):
        for thread in self.threads:
            thread.join(20)
            assert not thread.is_alive()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def callers(work):
    return Callers(SingleFlight(), work)


def test_the_same_request_again_joins_the_one_under_way(callers, work):
    callers.call()
    work.begun.acquire()
    callers.call()
    callers.call()
    work.let_go.release()
    callers.join()
    assert callers.answers == ["saw 1"] * 3
    assert work.seen == [1]


def test_a_burst_becomes_one_that_sees_the_last_state(callers, work):
    callers.call()
    work.begun.acquire()
    for state in (2, 3, 4):
        work.state = state
        callers.call()
    work.let_go.release()
    work.begun.acquire()
    work.let_go.release()
    callers.join()
    assert work.seen == [1, 4]
    assert sorted(callers.answers) == ["saw 1", "saw 4", "saw 4", "saw 4"]


def test_one_after_the_other_is_done_twice(callers, work):
    for _ in range(2):
        callers.call()
        work.begun.acquire()
        work.let_go.release()
        callers.join()
    assert work.seen == [1, 1]


def test_everybody_who_waited_gets_the_error():
    flight, begun, let_go = SingleFlight(), threading.Event(), threading.Event()

    def fail():
        begun.set()
        assert let_go.wait(20)
        raise ValueError("no")

    work = Work()
    callers = Callers(flight, work)
    callers._work = type("Failing", (), {"state": 1, "__call__": lambda _: fail()})()
    callers.call()
    assert begun.wait(20)
    callers.call()
    let_go.set()
    callers.join()
    assert callers.answers == ["no", "no"]


def test_another_key_does_not_wait(work):
    flight = SingleFlight()
    busy = threading.Thread(target=lambda: flight.run("one", lambda: 1, work))
    busy.start()
    work.begun.acquire()
    assert flight.run("other", lambda: 1, lambda: "free") == "free"
    work.let_go.release()
    busy.join()
