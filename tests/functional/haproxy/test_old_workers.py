# SPDX-License-Identifier: Apache-2.0
"""Workers that a reload has replaced, with the clients they still have."""

import contextlib
import socket
import time

import pytest

from amphora.errors import ControlSocketError
from amphora.haproxy.control.old_workers import end_surplus
from amphora.haproxy.proof.prove import prove, snapshot

HEAD = "defaults\n timeout connect 1s\n timeout client 60s\n timeout server 60s\n"


@pytest.fixture
def echo():
    """A server that holds every connection open; returns its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def reloading(echo, free_port):
    """Start a haproxy, and reload it with one more open connection each time."""
    with contextlib.ExitStack() as stack:
        port = free_port()

        def run(haproxy, reloads):
            configuration = haproxy.write(
                f"{HEAD}frontend f\n bind 127.0.0.1:{port}\n default_backend b\n"
                f"backend b\n server s 127.0.0.1:{echo}\n"
            )
            haproxy.spawn()
            prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
            for _ in range(reloads):
                yield stack.enter_context(connected(haproxy, port))
                before = snapshot(haproxy.master)
                haproxy.reload()
                prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10, before=before)

        yield run


def connected(haproxy, port):
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    client.sendall(b"x")
    deadline = time.monotonic() + 5
    while int(haproxy.stats.info()["CurrConns"]) < 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return client


def alive(clients):
    """Return how many of them are still connected."""
    count = 0
    for client in clients:
        client.setblocking(False)
        try:
            count += bool(client.recv(1))
        except BlockingIOError:
            count += 1
        except OSError:
            continue
    return count


def old_workers(haproxy):
    # The master answers nothing while it loads a configuration.
    with contextlib.suppress(ControlSocketError):
        return len(haproxy.master.processes().old_workers)
    return -1


def test_by_default_no_connection_is_cut_and_every_worker_stays(haproxy, reloading):
    clients = list(reloading(haproxy, 4))
    assert old_workers(haproxy) == 4
    assert alive(clients) == 4


def test_a_number_of_old_workers_bounds_them(haproxy, reloading, eventually):
    clients = []
    for client in reloading(haproxy, 10):
        clients.append(client)
        end_surplus(haproxy.master, haproxy.process.pid, 3)
    end_surplus(haproxy.master, haproxy.process.pid, 3)
    assert eventually(lambda: 0 < old_workers(haproxy) <= 3)
    print(f"{old_workers(haproxy)} old workers after 10 reloads")
    # The latest are those that stay.
    assert eventually(lambda: alive(clients) == old_workers(haproxy))
    assert alive(clients[-3:]) == 3


def test_a_drain_time_ends_old_workers(make_haproxy, reloading, eventually):
    haproxy = make_haproxy(drain_seconds=1)
    clients = list(reloading(haproxy, 2))
    eventually(lambda: old_workers(haproxy) == 0)
    assert alive(clients) == 0
