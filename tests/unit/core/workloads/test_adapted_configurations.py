# SPDX-License-Identifier: Apache-2.0
"""Uploads as they run here, by what haproxy warns of."""

import os

import pytest

from amphora.haproxy.capabilities import capabilities_of
from tests.unit.core.conftest import ID

BODY = b"global\n    daemon\n    pidfile /run/x\nfrontend f\n    mode http\n"


@pytest.fixture
def make_instance(rig):
    def make(version):
        rig.engine.haproxy.refresh = lambda: capabilities_of("", version)
        return rig.haproxy(ID)

    return make


def test_how_to_run_is_left_out_only_where_it_is_a_warning(make_instance):
    assert make_instance((3, 0, 11)).as_run(BODY) == BODY
    instance = make_instance((3, 4, 7))
    assert b"\n    daemon\n" not in instance.as_run(BODY)
    instance.stage(BODY)
    assert instance.files.staged.read_bytes() == instance.as_run(BODY)


def test_what_is_adopted_is_no_younger_than_what_runs_from_it(make_instance, layout):
    layout.directory.mkdir()
    layout.stored.write_bytes(BODY)
    os.utime(layout.stored, (1_000_000, 1_000_000))
    make_instance((3, 4, 7)).take_files_over(BODY)
    assert layout.running.read_bytes() != layout.stored.read_bytes() == BODY
    assert layout.running.stat().st_mtime == 1_000_000
