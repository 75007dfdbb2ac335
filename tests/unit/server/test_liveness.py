# SPDX-License-Identifier: Apache-2.0
"""A real server on a thread, alive, and broken in each of the ways a check is there to notice."""

import asyncio
import logging
import os
import queue
import socket
import ssl
import threading
import time

import pytest

from amphora.errors import OperationFailed
from amphora.server.agent_server import AgentServer
from amphora.server.liveness import Liveness
from amphora.server.settings import ServerSettings
from amphora.server.tls import build_context

SOON = 0.3


@pytest.fixture
def loop_of(pki, app):
    """Serve, and return the server with its event loop."""
    started = []

    def start(wsgi_app=app, **limits):
        settings = ServerSettings(**{"host": "127.0.0.1", "port": 0, "shutdown_grace": 5.0, **limits})
        ready = queue.Queue()
        context = build_context(pki.server().path, pki.ca_path, ssl.TLSVersion.TLSv1_2)
        server = AgentServer(
            wsgi_app, settings, context, on_ready=lambda _address: ready.put(asyncio.get_running_loop())
        )
        thread = threading.Thread(target=server.run)
        started.append((server, thread))
        thread.start()
        return server, ready.get(timeout=10)

    yield start
    for server, thread in started:
        server.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()


def listening_descriptors():
    """What this process listens on; other tests may have left some."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as sock:
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    found.add(int(name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_a_server_that_serves_is_alive(loop_of, host):
    server, _ = loop_of(host=host)
    server.check_alive(10)


def test_a_check_leaves_nothing(loop_of, app, caplog):
    caplog.set_level(logging.DEBUG, "amphora")
    server, _ = loop_of()
    server.check_alive(10)
    before = set(threading.enumerate()), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        server.check_alive(10)
    assert (set(threading.enumerate()), len(os.listdir("/proc/self/fd"))) == before
    assert app.calls == []
    assert [record.getMessage() for record in caplog.records] == []


def test_others_who_fail_are_still_logged(serve, caplog):
    caplog.set_level(logging.INFO, "amphora")
    server = serve()
    server.server.check_alive(10)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server.tls(context=context) as client, pytest.raises(ssl.SSLError, match="(?i)certificate"):
        client.recv(1)
    server.server.check_alive(10)
    assert "TLS handshake with 127.0.0.1 failed" in caplog.text


def test_a_server_that_does_not_run_is_not_alive(pki, app, serve):
    server = serve()
    server.server.stop()
    server.wait()
    with pytest.raises(OperationFailed, match="is not running"):
        server.server.check_alive(1)


def test_a_blocked_event_loop_is_noticed(loop_of):
    server, loop = loop_of()
    release = threading.Event()
    loop.call_soon_threadsafe(release.wait, 20)
    try:
        with pytest.raises(OperationFailed, match="a new connection timed out"):
            server.check_alive(SOON)
    finally:
        release.set()
    server.check_alive(10)


def test_a_dead_acceptor_is_noticed(loop_of):
    before = listening_descriptors()
    server, loop = loop_of()
    (acceptor,) = listening_descriptors() - before
    removed = threading.Event()
    loop.call_soon_threadsafe(lambda: loop.remove_reader(acceptor) and removed.set())
    assert removed.wait(10)
    with pytest.raises(OperationFailed, match="a new connection timed out"):
        server.check_alive(SOON)


def test_a_tls_context_that_cannot_serve_is_noticed(loop_of):
    server, _ = loop_of()
    server.replace_tls_context(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    with pytest.raises(OperationFailed, match="the TLS handshake failed"):
        server.check_alive(5)


def test_a_server_that_admits_anybody_is_not_what_is_expected(serve):
    with pytest.raises(OperationFailed, match="a new connection timed out"):
        serve(optional=True).server.check_alive(SOON)


def test_busy_reading_threads_are_noticed(loop_of, pki):
    release, taken = threading.Event(), threading.Event()

    def app(_environ, start_response):
        taken.set()
        release.wait(20)
        start_response("204 No Content", [])
        return []

    before = listening_descriptors()
    server, _ = loop_of(app, read_workers=1)
    (acceptor,) = listening_descriptors() - before
    with socket.socket(fileno=os.dup(acceptor)) as listener:
        address = listener.getsockname()
    context = pki.client_context(pki.client())
    with context.wrap_socket(socket.create_connection(address), server_hostname="127.0.0.1") as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert taken.wait(10)
        try:
            with pytest.raises(OperationFailed, match="the threads that handle requests timed out"):
                server.check_alive(SOON)
        finally:
            release.set()
        assert client.recv(12) == b"HTTP/1.1 204"
    server.check_alive(10)


def test_a_crowd_of_strangers_does_not_make_it_look_dead(serve):
    server = serve(max_unauthenticated=8, max_unauthenticated_per_source=4, max_handshakes=2)
    strangers = [server.plain() for _ in range(20)]
    try:
        server.server.check_alive(10)
    finally:
        for stranger in strangers:
            stranger.close()


def test_an_address_that_is_gone_is_no_fault_of_the_server():
    """192.0.2.1 is nobody's; a listening socket cannot lose its address in a test."""

    class Listener:
        family = socket.AF_INET

        def getsockname(self):
            return "192.0.2.1", 9443

    done = []

    async def work():
        done.append(True)

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        Liveness(loop, Listener(), None, work).check(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
    assert done == [True]


def test_a_check_costs_milliseconds(loop_of, pki):
    server, _ = loop_of()
    server.check_alive(10)
    times = []
    for _ in range(30):
        began = time.perf_counter()
        server.check_alive(10)
        times.append(time.perf_counter() - began)
    median = sorted(times)[15]
    print(f"a check: {median * 1000:.2f} ms")
    # A few milliseconds; loose, for machines that do other work at the same time.
    assert median < 0.2
