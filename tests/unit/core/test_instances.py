# SPDX-License-Identifier: Apache-2.0
"""What uploading and deleting leave on disk."""

import threading

import pytest

from amphora.errors import InstanceActionFailed, InstanceNotFound, InvalidConfiguration, ServiceError
from tests.unit.core.conftest import ID, NEW, OLD


def test_a_refused_upload_keeps_the_former_configuration_and_nothing_else(rig, layout):
    rig.instances.upload(ID, OLD)
    with pytest.raises(InvalidConfiguration, match="BAD_LINE"):
        rig.instances.upload(ID, NEW + b"BAD_LINE\n")
    assert [path.name for path in layout.directory.iterdir()] == ["haproxy.cfg"]
    assert layout.stored.read_bytes() == OLD


def test_deleting_an_instance_that_cannot_be_stopped_removes_nothing(rig, layout):
    rig.instances.upload(ID, OLD)
    rig.processes.fail_next("remove", ServiceError("a process survived"))
    with pytest.raises(InstanceActionFailed, match="survived"):
        rig.instances.delete(ID)
    assert layout.stored.read_bytes() == OLD
    rig.instances.delete(ID)
    with pytest.raises(InstanceNotFound):
        rig.instances.delete(ID)


def test_only_sockets_below_the_base_path_are_removed_with_an_instance(rig, layout, short_dir):
    import socket

    ours = layout.base_path / f"{ID}.sock"
    foreign = short_dir / "foreign.sock"
    ordinary = layout.base_path / "ordinary"
    ordinary.touch()
    escape = layout.base_path / ".." / short_dir.name
    names = (ours, foreign, ordinary, escape)
    lines = "".join(f"    stats socket {path}\n" for path in names)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(str(ours))
        other.bind(str(foreign))
        rig.instances.upload(ID, f"global\n{lines}".encode() + OLD)
        rig.instances.delete(ID)
    assert not ours.exists()
    assert foreign.exists()
    assert ordinary.exists()


def test_changes_to_one_instance_come_one_after_the_other(rig):
    rig.instances.upload(ID, OLD)
    rig.instances.start(ID)
    rig.engine.steps.clear()
    threads = [threading.Thread(target=rig.instances.reload, args=(ID,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rig.engine.steps == ["stage", "preflight", "swap", "reload"] * 8


def test_a_failed_stop_is_told_as_one(rig):
    rig.instances.upload(ID, OLD)
    rig.instances.start(ID)
    rig.processes.fail_next("stop", ServiceError("a process survived"))
    with pytest.raises(InstanceActionFailed, match="survived") as caught:
        rig.instances.stop(ID)
    assert caught.value.action == "stop"
