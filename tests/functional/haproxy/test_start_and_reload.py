# SPDX-License-Identifier: Apache-2.0
"""Starts and reloads of a real haproxy, proven or refused."""

import http.client
import socket
import time

import pytest

from amphora.errors import ControlSocketError, ProofFailed, ReloadRefused
from amphora.haproxy.log_lines import alerts
from amphora.haproxy.proof.prove import prove, snapshot
from amphora.system.processes import children_of, identify


def soon(seconds=10):
    return time.monotonic() + seconds


def started(haproxy, text):
    configuration = haproxy.write(text)
    haproxy.spawn()
    return prove(haproxy.master, haproxy.stats, configuration, soon())


def reloaded(haproxy, text, seconds=10):
    before = snapshot(haproxy.master)
    configuration = haproxy.write(text)
    haproxy.reload()
    return prove(haproxy.master, haproxy.stats, configuration, soon(seconds), before=before)


def status_of(port, host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status
    finally:
        connection.close()


def test_a_start_is_proven(haproxy, serving, free_port):
    port = free_port()
    evidence = started(haproxy, serving(f"127.0.0.1:{port}", f"::1:{port}"))
    assert evidence.master_pid == haproxy.process.pid
    assert children_of(evidence.master_pid) == [evidence.worker_pid]
    assert (evidence.reloads, evidence.frontends) == (0, ("f1", "f2"))
    assert status_of(port) == status_of(port, "::1") == 200
    assert evidence.seconds < 5


def test_a_start_that_cannot_bind_is_not_proven(haproxy, serving):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        configuration = haproxy.write(serving(f"127.0.0.1:{taken.getsockname()[1]}"))
        haproxy.spawn()
        assert haproxy.process.wait(5) == 1
    with pytest.raises(ProofFailed, match="no process listens|does not exist"):
        prove(haproxy.master, haproxy.stats, configuration, soon(0.2))
    assert "cannot bind socket" in haproxy.log()


def test_reloads_are_proven_one_after_the_other(haproxy, serving, free_port):
    first, second = free_port(), free_port()
    workers = [started(haproxy, serving(f"127.0.0.1:{first}")).worker_pid]
    for count in (1, 2, 3):
        evidence = reloaded(haproxy, serving(f"127.0.0.1:{first}", f"127.0.0.1:{second}"))
        workers.append(evidence.worker_pid)
        assert (evidence.master_pid, evidence.reloads) == (haproxy.process.pid, count)
        assert evidence.frontends == ("f1", "f2")
    assert len(set(workers)) == 4
    assert status_of(first) == status_of(second) == 200


def test_a_refused_reload_is_seen_and_the_old_worker_serves_on(haproxy, serving, free_port):
    port = free_port()
    before = started(haproxy, serving(f"127.0.0.1:{port}"))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        began = time.monotonic()
        with pytest.raises(ReloadRefused, match=f"goes on with worker {before.worker_pid}$"):
            reloaded(haproxy, serving(f"127.0.0.1:{port}", f"127.0.0.1:{taken.getsockname()[1]}"))
        assert time.monotonic() - began < 4
    assert identify(before.worker_pid)
    assert status_of(port) == 200


def test_a_good_reload_after_a_refused_one_is_proven(haproxy, serving, free_port):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ReloadRefused):
        reloaded(haproxy, serving(f"127.0.0.1:{taken.getsockname()[1]}"))
    assert haproxy.master.processes().failed == 1
    evidence = reloaded(haproxy, serving(f"127.0.0.1:{port}"))
    assert (evidence.reloads, haproxy.master.processes().failed) == (2, 0)


def test_a_configuration_that_cannot_be_parsed_is_refused(haproxy, serving, free_port):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    with pytest.raises(ReloadRefused):
        reloaded(haproxy, serving(f"127.0.0.1:{port}") + "nonsense\n")
    assert status_of(port) == 200


def test_without_a_signal_there_is_no_proof(haproxy, serving, free_port):
    configuration = haproxy.write(serving(f"127.0.0.1:{free_port()}"))
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, soon())
    before = snapshot(haproxy.master)
    with pytest.raises(ProofFailed, match="has not begun the reload"):
        prove(haproxy.master, haproxy.stats, configuration, soon(0.2), before=before)


def test_a_worker_that_drains_is_not_mistaken_for_the_new_one(haproxy, serving, free_port):
    port = free_port()
    old = started(haproxy, serving(f"127.0.0.1:{port}")).worker_pid
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        evidence = reloaded(haproxy, serving(f"127.0.0.1:{port}"))
        processes = haproxy.master.processes()
        assert [worker.pid for worker in processes.old_workers] == [old]
        assert [worker.pid for worker in processes.workers] == [evidence.worker_pid]
        assert haproxy.stats.worker_pid() == evidence.worker_pid


def test_frontends_of_a_configuration_that_is_not_running_are_missed(haproxy, serving, free_port):
    started(haproxy, serving(f"127.0.0.1:{free_port()}"))
    other = haproxy.write(serving(*(f"127.0.0.1:{free_port()}" for _ in range(3))))
    with pytest.raises(ProofFailed, match="not open: frontend f2, f3"):
        prove(haproxy.master, haproxy.stats, other, soon(0.2))


def test_frontends_that_need_not_be_open_are_not_missed(haproxy, serving, free_port):
    text = serving(f"127.0.0.1:{free_port()}")
    text += (
        f"frontend off\n bind 127.0.0.1:{free_port()}\n disabled\n.if 0\nfrontend never\n bind :1\n.endif\n"
    )
    assert started(haproxy, text).frontends == ("f1",)


def test_the_master_says_how_a_reload_went(haproxy, serving, free_port):
    port = free_port()
    started(haproxy, serving(f"127.0.0.1:{port}"))
    if not haproxy.program.refresh().reload_answers:
        # It reloads and closes the connection.
        with pytest.raises(ControlSocketError, match="without an answer to 'reload'"):
            haproxy.master.reload(10)
        return
    assert haproxy.master.reload(10).loaded
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        haproxy.write(serving(f"127.0.0.1:{port}", address))
        # The second time, too: haproxy 3.1 to 3.3-dev lose a signal by then.
        for _ in range(2):
            verdict = haproxy.master.reload(10)
            assert not verdict.loaded
            assert f"for [{address}]" in alerts(verdict.words)
    haproxy.write(serving(f"127.0.0.1:{port}"))
    assert haproxy.master.reload(10).loaded
    assert prove(haproxy.master, haproxy.stats, haproxy.configuration, soon()).reloads == 4
