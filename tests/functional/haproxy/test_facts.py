# SPDX-License-Identifier: Apache-2.0
"""What haproxy does that this agent is built around, one test for each fact of the design."""

import http.client
import socket
import threading
import time

import pytest

from amphora.errors import ProofFailed, ReloadRefused
from amphora.haproxy.proof.prove import prove, snapshot


def started(haproxy, text):
    configuration = haproxy.write(text)
    haproxy.spawn()
    return prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)


def reloaded(haproxy):
    before = snapshot(haproxy.master)
    haproxy.reload()
    return prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 10, before=before)


@pytest.fixture
def taken():
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


class Outage:
    """Asks a healthy frontend again and again; how long it refused, in seconds."""

    def __init__(self, port):
        self._port = port
        self._stop = threading.Event()
        self._refused = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)

    def _run(self):
        while not self._stop.wait(0.01):
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=5).close()
            except ConnectionRefusedError:
                self._refused.append(time.monotonic())

    @property
    def seconds(self):
        return self._refused[-1] - self._refused[0] if self._refused else 0.0


def test_a_taken_bind_passes_the_check_and_a_reload_for_it_closes_healthy_frontends(
    haproxy, serving, free_port, taken
):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    haproxy.write(serving(f"127.0.0.1:{port}", f"127.0.0.1:{taken}"))
    assert haproxy.check()
    with Outage(port) as outage, pytest.raises(ReloadRefused):
        reloaded(haproxy)  # the signal itself is sent without an error
    print(f"an unrelated frontend refused for {outage.seconds:.2f} s")
    assert outage.seconds > 0.5
    assert status(port) == 200


def status(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_master_that_restarts_over_the_broken_file_does_not_start(haproxy, serving, free_port, taken):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    haproxy.write(serving(f"127.0.0.1:{port}", f"127.0.0.1:{taken}"))
    haproxy.close()
    haproxy.spawn()
    assert haproxy.process.wait(10) == 1
    assert "cannot bind socket" in haproxy.log()
    with pytest.raises(ProofFailed):
        prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 0.2)


def test_the_master_s_counters_tell_a_refused_reload_from_a_good_one(haproxy, serving, free_port, taken):
    first = started(haproxy, serving(f"127.0.0.1:{free_port()}"))
    good = haproxy.upload.read_text()
    haproxy.write(serving(f"127.0.0.1:{taken}"))
    with pytest.raises(ReloadRefused):
        reloaded(haproxy)
    refused = haproxy.master.processes()
    assert (refused.failed, refused.master.reloads) == (1, 1)
    assert [worker.pid for worker in refused.workers + refused.old_workers] == [first.worker_pid]
    haproxy.write(good)
    evidence = reloaded(haproxy)
    assert (haproxy.master.processes().failed, evidence.reloads) == (0, 2)
    assert evidence.worker_pid != first.worker_pid


def test_ten_reloads_with_open_connections_keep_eleven_workers(haproxy, serving, free_port):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}").replace("client 5s", "client 60s"))
    clients = []
    try:
        for _ in range(10):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            clients[-1].sendall(b"GET / HTTP/1.1\r\n")
            reloaded(haproxy)
        processes = haproxy.master.processes()
        assert (len(processes.workers), len(processes.old_workers)) == (1, 10)
    finally:
        for client in clients:
            client.close()


def test_more_descriptors_than_allowed_pass_the_check_and_end_the_start(haproxy, serving, free_port):
    haproxy.write(serving(f"127.0.0.1:{free_port()}", head="global\n ulimit-n 1000000000\n"))
    assert haproxy.check()
    haproxy.spawn()
    assert haproxy.process.wait(10) == 1
    assert "Cannot raise FD limit" in haproxy.log()
