# SPDX-License-Identifier: Apache-2.0
"""What uploading and deleting leave on disk."""

import threading

import pytest

from amphora.errors import InstanceActionFailed, InstanceNotFound, InvalidConfiguration, ServiceError
from tests.unit.core.conftest import ID, NEW, OLD


def test_a_refused_upload_keeps_the_former_configuration_and_is_kept_aside(rig, layout):
    rig.haproxy(ID).upload(OLD)
    with pytest.raises(InvalidConfiguration, match="BAD_LINE"):
        rig.haproxy(ID).upload(NEW + b"BAD_LINE\n")
    assert sorted(path.name for path in layout.directory.iterdir()) == [
        "haproxy.cfg",
        "haproxy.cfg.new-failed",
    ]
    assert layout.refused.read_bytes() == NEW + b"BAD_LINE\n"
    assert layout.stored.read_bytes() == OLD


def test_deleting_an_instance_that_cannot_be_stopped_removes_nothing(rig, layout):
    rig.haproxy(ID).upload(OLD)
    rig.processes.fail_next("remove", ServiceError("a process survived"))
    with pytest.raises(InstanceActionFailed, match="survived"):
        rig.haproxy(ID).delete()
    assert layout.stored.read_bytes() == OLD
    rig.haproxy(ID).delete()
    with pytest.raises(InstanceNotFound):
        rig.haproxy(ID).delete()


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
        rig.haproxy(ID).upload(f"global\n{lines}".encode() + OLD)
        rig.haproxy(ID).delete()
    assert not ours.exists()
    assert foreign.exists()
    assert ordinary.exists()


def test_changes_to_one_instance_come_one_after_the_other(rig):
    rig.haproxy(ID).upload(OLD)
    rig.haproxy(ID).start()
    rig.engine.steps.clear()
    threads = [threading.Thread(target=rig.haproxy(ID).reload) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = len(rig.engine.steps) // 4
    assert rig.engine.steps == ["stage", "preflight", "swap", "reload"] * done
    assert 1 <= done <= 8


def test_a_failed_stop_is_told_as_one(rig):
    rig.haproxy(ID).upload(OLD)
    rig.haproxy(ID).start()
    rig.processes.fail_next("stop", ServiceError("a process survived"))
    with pytest.raises(InstanceActionFailed, match="survived") as caught:
        rig.haproxy(ID).stop()
    assert caught.value.action == "stop"


AMPHORA, PEER = "00000000-0000-4000-8000-00000000000a", b"AKyjUX7exN73rl7_5RLzyrLJ5Qg"


def test_the_name_among_peers_goes_with_the_configuration(rig, layout):
    rig.haproxy(ID).upload(OLD, AMPHORA)
    assert layout.local_peer.read_bytes() == PEER
    with pytest.raises(InvalidConfiguration):
        rig.haproxy(ID).upload(NEW + b"BAD_LINE\n", AMPHORA.replace("a", "b"))
    assert layout.local_peer.read_bytes() == PEER
    rig.haproxy(ID).upload(b"global\n    localpeer me\n" + OLD, AMPHORA)
    assert not layout.local_peer.exists(), "the configuration's own word counts"


def test_a_refused_first_upload_leaves_nothing(rig, layout):
    with pytest.raises(InvalidConfiguration):
        rig.haproxy(ID).upload(NEW + b"BAD_LINE\n", AMPHORA)
    assert not layout.directory.exists()


def test_a_configuration_without_frontends_is_for_those_who_want_it(rig, layout):
    idle = b"global\n    maxconn 10\n"
    with pytest.raises(InvalidConfiguration, match="no frontend"):
        rig.haproxy(ID).upload(idle)
    rig.haproxy(ID).upload(idle, may_be_idle=True)
    rig.haproxy(ID).start()
    assert layout.proven.read_bytes() == idle
