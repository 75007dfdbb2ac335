# SPDX-License-Identifier: Apache-2.0
"""A thread that waits for descriptors, with pipes."""

import os
import queue

import pytest

from amphora.system.poll_thread import PollThread


class Recorded:
    """A step that waits for what a test has given it, and hands on what was ready."""

    def __init__(self):
        self.calls = queue.Queue()
        self.descriptors = []
        self.seconds = None
        self.failures = 0

    def __call__(self, ready):
        self.calls.put(set(ready))
        if self.failures:
            self.failures -= 1
            raise RuntimeError("no luck")
        return self.descriptors, self.seconds

    def next(self):
        return self.calls.get(timeout=10)


@pytest.fixture
def step():
    return Recorded()


@pytest.fixture
def thread(step):
    thread = PollThread("test-thread", step)
    yield thread
    thread.close()


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_step_is_run_at_the_start_and_when_a_descriptor_is_ready(step, thread, pipe):
    step.descriptors = [pipe[0]]
    thread.start()
    thread.start()
    assert step.next() == set()
    os.write(pipe[1], b"x")
    assert step.next() == {pipe[0]}


def test_step_is_run_when_woken_and_after_a_time(step, thread):
    thread.start()
    step.next()
    step.seconds = 0.01
    thread.wake()
    assert [step.next() for _ in range(3)] == [set()] * 3


def test_step_that_fails_is_logged_and_repeated(step, thread, caplog):
    step.failures = 1
    thread.start()
    assert [step.next() for _ in range(2)] == [set()] * 2
    assert "test-thread failed unexpectedly" in caplog.text


def test_resource_is_closed_after_a_step_that_no_longer_waits_for_it(step, thread):
    class Resource:
        def close(self):
            step.calls.put("closed")

    thread.start()
    step.next()
    thread.close_later(Resource())
    assert [step.next(), step.next()] == [set(), "closed"]


def test_end_closes_what_is_left_and_may_be_repeated(step, thread, pipe):
    class Resource:
        closed = 0

        def close(self):
            Resource.closed += 1

    thread.close_later(Resource())
    for _ in range(2):
        thread.close()
    thread.start()
    thread.wake()
    assert (Resource.closed, thread.is_running, step.calls.empty()) == (1, False, True)
