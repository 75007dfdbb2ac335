# SPDX-License-Identifier: Apache-2.0
"""Status without a haproxy: what is told of stopped, broken and half-known instances."""

import pytest

from amphora.errors import InstanceNotFound, ServiceError
from amphora.models import Health, InstanceState, Protocol
from tests.unit.core.conftest import ID

BODY = b"frontend one\n    mode http\n    bind 127.0.0.1:80\nbackend pool\n    server member 10.0.0.1:80\n"


@pytest.fixture
def directory(layout):
    layout.directory.mkdir()
    return layout


def test_no_trace_is_no_instance(rig, directory):
    assert rig.services.status.all() == []
    with pytest.raises(InstanceNotFound):
        rig.services.status.one(ID)


def test_a_stopped_instance_has_its_pools_down(rig):
    rig.haproxy(ID).upload(BODY)
    status = rig.services.status.one(ID)
    assert (status.state, status.protocol) == (InstanceState.STOPPED, Protocol.HTTP)
    assert [(pool.id, pool.health, pool.members) for pool in status.pools] == [
        ("pool", Health.DOWN, (("member", Health.DOWN),))
    ]


@pytest.mark.parametrize("trace", ["pid_file", "stats_socket"])
def test_a_trace_without_a_configuration_is_an_error(rig, directory, trace):
    getattr(directory, trace).touch()
    assert [status.state for status in rig.services.status.all()] == [InstanceState.ERROR]


@pytest.mark.parametrize("body", [b"frontend \xff", b"# nothing\n"])
def test_an_unusable_configuration_is_an_error(rig, directory, body):
    directory.stored.write_bytes(body)
    assert rig.services.status.one(ID).state is InstanceState.ERROR


def test_a_process_whose_socket_does_not_answer_is_an_error(rig):
    rig.haproxy(ID).upload(BODY)
    rig.haproxy(ID).start()
    assert rig.services.status.one(ID).state is InstanceState.ERROR


def test_a_process_manager_that_cannot_tell_is_an_error(rig):
    rig.haproxy(ID).upload(BODY)
    rig.processes.fail_next("status", ServiceError("no bus"))
    assert rig.services.status.one(ID).state is InstanceState.ERROR
