# SPDX-License-Identifier: Apache-2.0
"""Workers by what /proc says, beside what their master says of them."""

import os
import signal
import socket
import threading
import time

import pytest

from amphora.errors import ControlSocketError, InvalidConfiguration, ReloadRefused
from amphora.haproxy.control.master import workers_of
from amphora.haproxy.proof.prove import prove, snapshot

CONFIGURATION = """\
defaults
 timeout connect 1s
 timeout client 5m
 timeout server 5m
 timeout server-fin 100ms
frontend f
 bind 127.0.0.1:{port}
 default_backend b
backend b
 server s 127.0.0.1:{member}
"""
PROGRAM = """\
program helper
 command /bin/sleep 1000
"""


@pytest.fixture
def echo():
    """A server that holds every connection open; returns its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


def write(haproxy, port, member):
    """Store a configuration with a program, where this haproxy still knows them."""
    configuration = CONFIGURATION.format(port=port, member=member)
    haproxy.write(configuration + PROGRAM)
    try:
        haproxy.check()
    except InvalidConfiguration:
        haproxy.write(configuration)


def pids(haproxy):
    """Return the ids of the current worker and of the old ones."""
    *old, current = [worker.pid for worker in workers_of({haproxy.process.pid})[haproxy.process.pid]]
    return current, sorted(old)


def pids_told_by_master(haproxy):
    told = haproxy.master.processes()
    (current,) = told.workers
    return current.pid, sorted(worker.pid for worker in told.old_workers)


class Watch:
    """Does something again and again, beside what is done in its context."""

    def __init__(self, look):
        self._look = look
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._over.wait(0.01):
            self._look()

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()


@pytest.fixture
def clients():
    """Connections that end with the test at the latest."""
    made = []
    yield made
    for client in made:
        client.close()


def reload_with_a_client(haproxy, port):
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    deadline = time.monotonic() + 10
    while int(haproxy.stats.info()["CurrConns"]) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    before = snapshot(haproxy.master)
    haproxy.reload()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 20, before=before)
    return client


def test_they_are_those_of_the_master_and_programs_are_none(haproxy, echo, free_port, clients, eventually):
    port = free_port()
    write(haproxy, port, echo)
    master = haproxy.spawn()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 20)
    for old in range(4):
        assert pids(haproxy) == pids_told_by_master(haproxy)
        assert len(pids(haproxy)[1]) == old
        clients.append(reload_with_a_client(haproxy, port))
    assert len(pids(haproxy)[1]) == 4
    for client in clients[1:3]:
        client.close()
    eventually(lambda: len(pids(haproxy)[1]) == 2, 20)
    assert pids(haproxy) == pids_told_by_master(haproxy)
    for client in clients:
        client.close()
    eventually(lambda: pids(haproxy)[1] == [], 20)
    assert workers_of({master, os.getpid()})[os.getpid()] == []


def test_a_frozen_master_is_not_waited_for(haproxy, echo, free_port):
    write(haproxy, free_port(), echo)
    master = haproxy.spawn()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 20)
    before = pids(haproxy)
    os.kill(master, signal.SIGSTOP)
    try:
        assert pids(haproxy) == before
        with pytest.raises(ControlSocketError):
            pids_told_by_master(haproxy)
    finally:
        os.kill(master, signal.SIGCONT)


def test_a_worker_that_loads_and_fails_never_counts(haproxy, echo, free_port, clients):
    port = free_port()
    haproxy.write(CONFIGURATION.format(port=port, member=echo))
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 20)
    clients.append(reload_with_a_client(haproxy, port))
    known, seen = pids(haproxy), set()
    before = snapshot(haproxy.master)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        binds = f" bind 127.0.0.1:{port}\n bind 127.0.0.1:{taken.getsockname()[1]}\n"
        text = CONFIGURATION.format(port=port, member=echo)
        configuration = haproxy.write(text.replace(f" bind 127.0.0.1:{port}\n", binds))
        # Twice: the second worker cannot have the stats socket of the first, and leaves its path dead.
        for _ in range(2):
            before = snapshot(haproxy.master)
            haproxy.reload()
            watch = Watch(lambda: seen.add(pids(haproxy)[0]))
            with watch, pytest.raises(ReloadRefused, match=f"goes on with worker {known[0]}$"):
                prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 20, before=before)
    assert seen == {known[0]}
    assert pids(haproxy) == known
    configuration = haproxy.write(CONFIGURATION.format(port=port, member=echo))
    before = snapshot(haproxy.master)
    haproxy.reload()
    evidence = prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 20, before=before)
    assert evidence.worker_pid == pids(haproxy)[0]


def test_nobody_has_no_workers():
    assert workers_of(()) == {}
    assert workers_of({2**22 + 1}) == {2**22 + 1: []}
