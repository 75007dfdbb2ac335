# SPDX-License-Identifier: Apache-2.0
"""A master process without a socket, known by its children."""

import contextlib
import os
import socket
import time

import pytest

from amphora.errors import ControlSocketError, ProofFailed
from amphora.haproxy.control.master import SocketlessMaster
from amphora.haproxy.proof.prove import prove, snapshot


@contextlib.contextmanager
def child():
    """A child process that does nothing until it is let go."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    try:
        yield pid
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def test_children_are_its_workers():
    with child() as worker:
        found = snapshot(SocketlessMaster(os.getpid()))
    assert found.master_pid == os.getpid()
    assert worker in found.pids
    assert found.reloads == 0


def test_a_child_that_was_not_there_before_counts_as_a_reload():
    with child() as worker:
        before = snapshot(SocketlessMaster(os.getpid()))
        master = SocketlessMaster(os.getpid(), before.pids)
        assert master.processes().master.reloads == 0
        with child() as fresh:
            processes = master.processes()
    assert processes.master.reloads == 1
    assert {worker, fresh} <= {each.pid for each in processes.workers}


def test_reloads_of_one_that_another_agent_started_are_proven(haproxy, serving, free_port):
    port = free_port()
    configuration = haproxy.write(serving(f"127.0.0.1:{port}"))
    *argv, _, _ = haproxy.program.service_argv(haproxy.files, haproxy.directory / "pid", haproxy.master_path)
    pid = haproxy.spawn(argv=argv)
    prove(SocketlessMaster(pid), haproxy.stats, configuration, time.monotonic() + 10)
    for reloads in range(3):
        before = snapshot(SocketlessMaster(pid))
        with socket.create_server(("127.0.0.1", 0)) as taken:
            # Every second one fails.
            also = [f"127.0.0.1:{taken.getsockname()[1]}"] if reloads % 2 else []
            configuration = haproxy.write(serving(f"127.0.0.1:{port}", *also))
            haproxy.reload()
            master, deadline = SocketlessMaster(pid, before.pids), time.monotonic() + 4
            if also:
                with pytest.raises(ProofFailed, match="has not begun the reload"):
                    prove(master, haproxy.stats, configuration, deadline, before=before)
            else:
                evidence = prove(master, haproxy.stats, configuration, deadline, before=before)
                assert evidence.worker_pid not in before.pids


def test_a_master_that_is_gone():
    with child() as gone:
        pass
    with pytest.raises(ControlSocketError, match="is gone"):
        SocketlessMaster(gone).processes()
