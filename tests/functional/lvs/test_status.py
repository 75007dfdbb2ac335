# SPDX-License-Identifier: Apache-2.0
"""What LVS listeners are said to do, by real processes that stand in for keepalived."""

import pytest

from amphora.errors import ServiceError
from amphora.models import InstanceState
from tests.support.core import CoreRig
from tests.support.lvs import EMPTY, LISTENER, StandIn, with_members


@pytest.fixture
def rig(memory_dir):
    return CoreRig(memory_dir)


@pytest.fixture
def layout(rig):
    return rig.lvs_directory.files(LISTENER)


def state(rig):
    (status,) = rig.services.status.lvs_listeners()
    assert status.id == LISTENER
    return status.state


def test_a_listener_from_upload_to_its_unexpected_end(rig, layout):
    assert (rig.services.status.lvs_listeners(), rig.services.status.lvs_process_count()) == ([], 0)
    rig.lvs(LISTENER).upload(with_members(1))
    assert (state(rig), rig.services.status.lvs_process_count()) == (InstanceState.STOPPED, 0)
    keepalived = StandIn(layout, file=layout.stored)
    try:
        assert (state(rig), rig.services.status.lvs_process_count()) == (InstanceState.RUNNING, 1)
    finally:
        keepalived.close()
    assert (state(rig), rig.services.status.lvs_process_count()) == (InstanceState.ERROR, 0)


def test_one_without_anything_to_serve_counts_as_stopped(rig, layout):
    rig.lvs(LISTENER).upload(EMPTY)
    keepalived = StandIn(layout, file=layout.stored)
    try:
        assert (state(rig), rig.services.status.lvs_process_count()) == (InstanceState.STOPPED, 1)
    finally:
        keepalived.close()


def test_one_that_should_run_and_does_not_is_in_error(rig, layout):
    rig.lvs(LISTENER).upload(EMPTY)
    rig.lvs(LISTENER).start()
    assert state(rig) is InstanceState.ERROR, "the process manager says that it runs, and no process does"
    rig.processes.stop(layout.service_name)
    rig.processes.fail_next("status", ServiceError("no answer"))
    assert state(rig) is InstanceState.ERROR


def test_what_another_agent_left_running_is_what_a_failed_change_comes_back_to(rig, layout):
    rig.lvs_directory.path.mkdir()
    layout.stored.write_bytes(EMPTY)
    keepalived = StandIn(layout, file=layout.stored)
    try:
        rig.lvs(LISTENER).upload(with_members(1))
    finally:
        keepalived.close()
    assert layout.proven.read_bytes() == EMPTY
