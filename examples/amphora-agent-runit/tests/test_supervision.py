# SPDX-License-Identifier: Apache-2.0
"""What a runsv writes is read, and a dead one is not believed."""

from __future__ import annotations

import os

import pytest
from amphora.errors import ServiceError
from hypothesis import given
from hypothesis import strategies as st

from amphora_runit.supervision import Phase, Supervised, Supervision, is_watched, parse_status

#: As runsv 2.1.2 wrote it of a service that ran as process 4711, in the state given.
STATUS = bytes.fromhex("400000006a1f2e5c0b1f7a30") + (4711).to_bytes(4, "little") + b"\0u\0"


@pytest.mark.parametrize("phase", [Phase.DOWN, Phase.RUN, Phase.FINISH])
def test_status_of_a_process_is_read(phase):
    assert parse_status(STATUS + bytes([phase.value])) == Supervised(phase, 4711)


def test_no_process_is_no_id():
    assert parse_status(bytes(20)) == Supervised(Phase.DOWN, None)


@given(st.binary(max_size=30))
def test_anything_is_read_or_refused(data):
    try:
        assert parse_status(data).phase is not Phase.UNSUPERVISED
    except ServiceError as error:
        assert data.hex() in error.details


def test_a_dead_runsv_is_not_believed(tmp_path):
    supervise = tmp_path / "supervise"
    supervise.mkdir()
    (supervise / "status").write_bytes(STATUS + b"\1")
    os.mkfifo(supervise / "ok")
    assert Supervision(tmp_path).look() == Supervised(Phase.UNSUPERVISED)
    reader = os.open(supervise / "ok", os.O_RDONLY | os.O_NONBLOCK)
    assert Supervision(tmp_path).look() == Supervised(Phase.RUN, 4711)
    os.close(reader)


def test_nobody_to_tell_is_an_error(tmp_path):
    with pytest.raises(ServiceError, match="no runsv supervises"):
        Supervision(tmp_path).tell("u")


def test_a_directory_nobody_watches_is_told_apart(tmp_path, service_directory):
    assert is_watched(service_directory)
    assert not is_watched(tmp_path)
