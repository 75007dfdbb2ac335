# SPDX-License-Identifier: Apache-2.0
"""Reports of readiness, over real sockets."""

import os
import socket
import time
from dataclasses import replace

import pytest

from amphora.drivers.process_manager.notify_socket import NotifySocket
from amphora.drivers.process_manager.upstart.supervisor import WatchedJob
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec
from amphora.system.processes import ProcessIdentity, identify


def send(path, *messages):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for message in messages:
            sender.sendto(message, str(path))


def test_says_who_is_ready(short_dir):
    path = short_dir / "n"
    listener = NotifySocket(path)
    send(path, b"STATUS=loading", b"RELOADING=1")
    assert listener.ready_senders() == set()
    send(path, b"STATUS=serving\nREADY=1")
    assert listener.ready_senders() == {os.getpid()}
    assert listener.ready_senders() == set()
    listener.close()
    assert not path.exists()


def test_replaces_what_a_dead_agent_left(short_dir):
    path = short_dir / "n"
    path.touch()
    listener = NotifySocket(path)
    send(path, b"READY=1")
    assert listener.ready_senders()
    listener.close()


def test_path_that_is_too_long_is_reported(short_dir):
    with pytest.raises(ServiceError, match="cannot be made"):
        NotifySocket(short_dir / ("x" * 108))


SPEC = ServiceSpec("web", "A service", ("/bin/web",), restart=RestartPolicy(delay=1.0, max_delay=5.0))


def delays_after(job, ends):
    delays = []
    for _ in range(ends):
        before = time.monotonic()
        job.note_end("ended")
        delays.append(round(job.retry_at - before))
    return delays


def test_delay_grows_with_each_failed_start(tmp_path):
    job = WatchedJob(SPEC, tmp_path / "n", stable_after=0.0)
    assert delays_after(job, 4) == [1, 2, 4, 5]


def test_delay_begins_anew_once_after_a_long_run(tmp_path):
    job = WatchedJob(SPEC, tmp_path / "n", stable_after=0.0)
    delays_after(job, 3)
    job.see(ProcessIdentity(2**22 + 1, 1))
    assert delays_after(job, 3) == [1, 2, 4]


def test_delay_goes_on_growing_after_a_short_run(tmp_path):
    job = WatchedJob(SPEC, tmp_path / "n", stable_after=1000.0)
    delays_after(job, 1)
    job.see(ProcessIdentity(2**22 + 1, 1))
    assert delays_after(job, 2) == [2, 4]


def test_only_a_service_that_reports_can_be_unready(short_dir):
    me = identify(os.getpid())
    job = WatchedJob(SPEC, short_dir / "n", stable_after=1.0)
    job.see(me)
    assert job.is_ready(me)
    job.take_spec(replace(SPEC, readiness=Readiness.NOTIFY))
    assert not job.is_ready(me)
    job.note_running(me)
    assert job.is_ready(me)
    job.close()
    assert list(short_dir.iterdir()) == []
