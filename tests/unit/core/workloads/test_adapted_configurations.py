# SPDX-License-Identifier: Apache-2.0
"""Uploads as they run here, by what haproxy warns of."""

import os

import pytest

from amphora.core.workloads.haproxy_files import InstanceLayout
from amphora.haproxy.capabilities import capabilities_of
from amphora.testing.fake_process_manager import FakeProcessManager
from tests.support.core import FakeEngine
from tests.support.listeners import listener_id

BODY = b"global\n    daemon\n    pidfile /run/x\nfrontend f\n    mode http\n"


@pytest.fixture
def layout(tmp_path):
    layout = InstanceLayout(tmp_path, listener_id(1))
    layout.directory.mkdir()
    return layout


@pytest.fixture
def make_engine(tmp_path):
    def make(version):
        engine = FakeEngine(FakeProcessManager())
        engine.program.refresh = lambda: capabilities_of("", version)
        return engine

    return make


def test_how_to_run_is_left_out_only_where_it_is_a_warning(make_engine, layout):
    assert make_engine((3, 0, 11)).adapt(BODY) == BODY
    engine = make_engine((3, 4, 7))
    assert b"\n    daemon\n" not in engine.adapt(BODY)
    engine.stage(layout, BODY)
    assert layout.staged.read_bytes() == engine.adapt(BODY)


def test_what_is_adopted_is_no_younger_than_what_runs_from_it(make_engine, layout):
    layout.stored.write_bytes(BODY)
    os.utime(layout.stored, (1_000_000, 1_000_000))
    make_engine((3, 4, 7)).adopt(layout, "")
    assert layout.running.read_bytes() != layout.stored.read_bytes() == BODY
    assert layout.running.stat().st_mtime == 1_000_000
