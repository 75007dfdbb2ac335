# SPDX-License-Identifier: Apache-2.0
import select
import time

import pytest

from amphora.errors import ControlSocketError
from amphora.haproxy.control.worker_link import WorkerLink
from tests.support.heartbeats import Worker, frontend


@pytest.fixture
def worker(short_dir):
    worker = Worker(short_dir / "s", rows=frontend("f1", 3))
    yield worker
    worker.close()


@pytest.fixture
def link(worker, short_dir):
    link = WorkerLink(short_dir / "s")
    yield link
    link.close()


def answer(link, timeout=10.0):
    deadline = time.monotonic() + timeout
    while select.select([link], [], [], max(deadline - time.monotonic(), 0))[0]:
        found = link.receive()
        if found is not None:
            return found
    raise TimeoutError


def test_one_connection_is_asked_again_and_again(worker, link):
    for connections in (3, 4):
        worker.rows = frontend("f1", connections) + frontend("f2") * 5000
        link.ask()
        assert link.is_asked
        found = answer(link)
        assert not link.is_asked
        assert (found.generation, found.stopping, found.connections) == ("100-1000", False, 0)
        assert found.rows[0].number("stot") == connections
        assert len(found.rows) == 5001
    assert worker.open_connections == 1
    # One prompt comes for a line, on some versions whatever the number of commands on it.
    assert worker.lines == ["prompt\n", *["show info\n", "show stat\n"] * 2]


def test_a_worker_that_was_just_loaded_is_as_good_as_any(worker, link):
    worker.info |= {"Uptime_sec": 0, "Uptime": "0d 0h00m00s"}
    link.ask()
    assert answer(link).rows


def test_a_replaced_worker_says_so(worker, link):
    worker.info |= {"Stopping": 1, "CurrConns": 4}
    link.ask()
    assert (found := answer(link)).stopping
    assert found.connections == 4


def test_versions_that_do_not_tell_their_start_are_told_apart_by_the_kernel(worker, link):
    worker.info = {"Pid": 1}
    link.ask()
    assert answer(link).generation.startswith("1-t")


def test_nothing_has_come_yet(worker, short_dir):
    worker.answers.clear()
    link = WorkerLink(short_dir / "s")
    link.ask()
    assert link.receive() is None
    link.close()


@pytest.mark.parametrize("change", [{"Pid": "x"}, {"Pid": 1, "CurrConns": "many"}, {"Version": 1}])
def test_odd_answers_are_refused(worker, link, change):
    worker.info = change
    link.ask()
    with pytest.raises(ControlSocketError, match="oddly"):
        answer(link)


def test_a_refusal_is_no_answer(worker, link):
    worker._say = lambda _command: "Permission denied\n"
    link.ask()
    with pytest.raises(ControlSocketError, match="oddly"):
        answer(link)


def test_a_worker_that_ends_is_noticed(worker, link, short_dir):
    link.ask()
    answer(link)
    worker.close()
    with pytest.raises(ControlSocketError, match="closed the connection"):
        answer(link)
    with pytest.raises(ControlSocketError, match="failed: Broken pipe"):
        link.ask()
    with pytest.raises(ControlSocketError, match="failed: Connection refused"):
        WorkerLink(short_dir / "s")
    with pytest.raises(ControlSocketError, match="failed: No such file"):
        WorkerLink(short_dir / "none")
