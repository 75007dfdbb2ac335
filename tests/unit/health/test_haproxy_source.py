# SPDX-License-Identifier: Apache-2.0
import socket
import time

import pytest

from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.health.haproxy_source import HaproxySource
from tests.support.heartbeats import backend, frontend

ONE, TWO, THREE = (f"0000000{number}-5862-4a13-b9e3-9b440d0ed50a" for number in (1, 2, 3))

#: Long enough for any loaded machine; what answers is never waited for so long.
LONG = 20.0


@pytest.fixture
def directory(short_dir):
    return HaproxyDirectory(short_dir)


class Clock:
    """Real time, and what a test adds to it."""

    def __init__(self):
        self.added = 0.0

    def __call__(self):
        return time.monotonic() + self.added


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(directory, clock):
    source = HaproxySource(directory, clock)
    yield source
    source.close()


def names(reading):
    return sorted(listener.id for process in reading.processes for listener in process.listeners)


def test_every_worker_is_read_and_asked_over_one_connection(directory, source, make_worker):
    rows = frontend("f1", 3) + backend("p:f1", {"m": "UP"})
    one = make_worker(directory.files(ONE).stats_socket, rows=rows)
    make_worker(directory.files(TWO).stats_socket, pid=200, rows=frontend("f2"))
    directory.files(THREE).directory.mkdir()
    for _ in range(3):
        reading = source.read(LONG)
        assert names(reading) == ["f1", "f2"]
    assert (one.open_connections, one.questions) == (1, 6)
    first = reading.processes[0]
    assert (first.origin, first.generation, first.replaced) == (ONE, "100-1000", False)
    assert [pool.members for pool in first.pools] == [{"m": "UP"}]
    assert (reading.origins, reading.problems) == ({ONE, TWO, THREE}, {})
    assert reading.generations == {"100-1000", "200-1000"}


def test_the_socket_of_another_agents_haproxy_is_found(directory, short_dir, source, make_worker):
    directory.files(ONE).directory.mkdir()
    make_worker(short_dir / f"{ONE}.sock", rows=frontend("f1"))
    assert names(source.read(LONG)) == ["f1"]


def test_a_silent_worker_delays_the_others_once(directory, source, make_worker):
    hung = make_worker(directory.files(ONE).stats_socket, rows=frontend("f1"))
    hung.answers.clear()
    make_worker(directory.files(TWO).stats_socket, pid=200, rows=frontend("f2"))
    reading = source.read(0.5)
    assert names(reading) == ["f2"]
    assert reading.problems == {ONE: "haproxy does not answer on its stats socket"}
    began = time.monotonic()
    reading = source.read(60)
    assert time.monotonic() - began < 30
    assert (names(reading), set(reading.problems)) == (["f2"], {ONE})


def test_a_worker_that_answers_again_is_heard(directory, source, clock, make_worker):
    hung = make_worker(directory.files(ONE).stats_socket, rows=frontend("f1"))
    hung.answers.clear()
    source.read(0.01)
    clock.added += 6
    assert source.read(LONG).problems
    hung.answers.set()
    deadline = time.monotonic() + LONG
    while not (reading := source.read(0.2)).processes and time.monotonic() < deadline:
        pass
    assert (names(reading), reading.problems) == (["f1"], {})


def test_what_was_said_a_moment_ago_counts_until_it_is_old(directory, source, clock, make_worker):
    worker = make_worker(directory.files(ONE).stats_socket, rows=frontend("f1"))
    source.read(LONG)
    worker.answers.clear()
    reading = source.read(0.01)
    assert (names(reading), set(reading.problems)) == (["f1"], {ONE})
    clock.added += 6
    reading = source.read(0.01)
    assert names(reading) == []
    assert reading.generations == {"100-1000"}


def test_a_socket_with_nobody_behind_it_is_no_problem(directory, source):
    path = directory.files(ONE).stats_socket
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    reading = source.read(LONG)
    assert (reading.processes, reading.problems, reading.origins) == ((), {}, {ONE})


def test_a_socket_that_closes_at_once_is_a_problem(directory, source, make_worker):
    worker = make_worker(directory.files(ONE).stats_socket)
    worker._say = None
    # Not before something has come: with nobody behind a socket any more there would be no problem.
    worker._serve = lambda connection: (connection.recv(1), connection.close())
    assert set(source.read(LONG).problems) == {ONE}


def test_a_reload_is_followed_and_the_old_worker_let_go_when_its_last_client_has_left(
    directory, source, make_worker
):
    path = directory.files(ONE).stats_socket
    old = make_worker(path, rows=frontend("f1", 5))
    source.read(LONG)
    old.stop_listening()
    path.unlink()
    old.info |= {"Stopping": 1, "CurrConns": 2}
    make_worker(path, pid=101, rows=frontend("f1", 1))
    reading = source.read(LONG)
    assert {each.generation: each.replaced for each in reading.processes} == {
        "100-1000": True,
        "101-1000": False,
    }
    old.info["CurrConns"] = 0
    old.rows = frontend("f1", 6)
    last = [each for each in source.read(LONG).processes if each.replaced]
    assert [each.listeners[0].counters.connections for each in last] == [6]
    reading = source.read(LONG)
    assert [each.generation for each in reading.processes] == ["101-1000"]
    assert reading.generations == {"101-1000"}


def test_a_worker_that_crashed_is_followed_by_the_next_in_the_same_reading(directory, source, make_worker):
    path = directory.files(ONE).stats_socket
    crashed = make_worker(path, rows=frontend("f1"))
    source.read(LONG)
    crashed.close()
    path.unlink()
    make_worker(path, pid=101, rows=frontend("f1"))
    reading = source.read(LONG)
    assert [each.generation for each in reading.processes] == ["101-1000"]
    assert reading.problems == {}


def test_what_is_deleted_is_let_go(directory, source, make_worker):
    path = directory.files(ONE).stats_socket
    worker = make_worker(path, rows=frontend("f1"))
    source.read(LONG)
    path.unlink()
    path.parent.rmdir()
    reading = source.read(LONG)
    assert (reading.processes, reading.origins, reading.generations) == ((), frozenset(), frozenset())
    deadline = time.monotonic() + LONG
    while worker.open_connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert worker.open_connections == 0
