# SPDX-License-Identifier: Apache-2.0

import os

import pytest

from amphora.drivers.process_manager.service_log import KEPT_SIZE, SIZE_LIMIT, ServiceLog
from amphora.errors import ServiceError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "web.log"


def write_run(log, data):
    descriptor = log.open_for_run()
    os.write(descriptor, data)
    os.close(descriptor)


def test_tail_is_of_the_current_run(path):
    log = ServiceLog(path)
    write_run(log, b"first run\n")
    write_run(log, b"second run\n")
    assert log.tail() == "second run"
    assert path.read_bytes() == b"first run\nsecond run\n"


def test_tail_of_an_adopted_service_is_of_what_there_is(path):
    write_run(ServiceLog(path), b"before the agent's restart\n")
    assert ServiceLog(path).tail() == "before the agent's restart"


def test_tail_is_short(path):
    log = ServiceLog(path)
    write_run(log, b"".join(b"line %d\n" % number for number in range(100_000)))
    assert log.tail().splitlines()[-1] == "line 99999"
    assert len(log.tail().splitlines()) == 20


def test_tail_of_nothing_is_empty(path):
    assert ServiceLog(path).tail() == ""


def test_long_log_is_shortened_before_a_run(path):
    log = ServiceLog(path)
    write_run(log, b"x" * (KEPT_SIZE * 3) + b"end")
    write_run(log, b"new")
    assert path.stat().st_size == KEPT_SIZE + 3
    assert path.read_bytes().endswith(b"endnew")
    assert log.tail() == "new"


def test_log_is_bounded_while_the_service_writes(path):
    log = ServiceLog(path)
    descriptor = log.open_for_run()
    try:
        os.write(descriptor, b"x" * SIZE_LIMIT)
        log.bound()
        assert path.stat().st_size == SIZE_LIMIT
        os.write(descriptor, b"x")
        log.bound()
        assert path.stat().st_size == 0
        os.write(descriptor, b"goes on")
        assert log.tail() == "goes on"
    finally:
        os.close(descriptor)


def test_log_is_private_and_can_be_removed(path):
    log = ServiceLog(path)
    write_run(log, b"x")
    assert path.stat().st_mode & 0o777 == 0o600
    for _ in range(2):
        log.remove()
        assert not path.exists()
    log.bound()


def test_unwritable_log_is_reported(tmp_path):
    log = ServiceLog(tmp_path / "missing" / "web.log")
    with pytest.raises(ServiceError, match="web.log"):
        log.open_for_run()


def test_output_since_a_mark_is_over_all_runs(path):
    log = ServiceLog(path)
    write_run(log, b"before\n")
    assert log.since_mark() == "", "nobody has marked anything"
    log.mark()
    write_run(log, b"one\n")
    write_run(log, b"two\n")
    assert log.since_mark() == "one\ntwo"
    assert log.tail() == "two"


def test_a_mark_survives_that_a_long_log_is_shortened(path):
    log = ServiceLog(path)
    write_run(log, b"x" * (KEPT_SIZE * 3))
    log.mark()
    write_run(log, b"new")
    assert log.since_mark() == "new"
