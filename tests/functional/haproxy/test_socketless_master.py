# SPDX-License-Identifier: Apache-2.0
"""A master process without a socket, known by its children."""

import contextlib
import os

import pytest

from amphora.errors import ControlSocketError
from amphora.haproxy.master import SocketlessMaster
from amphora.haproxy.proof import snapshot


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


def test_a_master_that_is_gone():
    with child() as gone:
        pass
    with pytest.raises(ControlSocketError, match="is gone"):
        SocketlessMaster(gone).processes()
