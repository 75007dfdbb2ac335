# SPDX-License-Identifier: Apache-2.0
"""What strangers can cost us: the bounds are promises, measured on a real process."""

from __future__ import annotations

import resource
import ssl
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.real_commands, pytest.mark.alone]

STRANGERS = 500
ALLOWED_GROWTH = 20.0  # MB
HOLD_ALL = {"max_unauthenticated": 1000, "max_unauthenticated_per_source": 1000}


def client_hello(context: ssl.SSLContext) -> bytes:
    outgoing = ssl.MemoryBIO()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def first_bytes(server: Any, kind: str) -> bytes:
    hello = client_hello(server.context)
    return {"nothing": b"", "one byte": hello[:1], "half a hello": hello[:200], "a hello": hello}[kind]


def settled(server: Any, bound: float) -> float:
    """Wait up to 30 s for the memory to come down to a bound; return what it is then."""
    deadline = time.monotonic() + 30
    while server.memory() > bound and time.monotonic() < deadline:
        time.sleep(0.2)
    return float(server.memory())


@pytest.mark.parametrize("limits", [{}, HOLD_ALL], ids=["bounded", "all held"])
@pytest.mark.parametrize("kind", ["nothing", "one byte", "half a hello", "a hello"])
def test_strangers_cost_little_and_delay_nobody(start_server: Any, kind: str, limits: dict[str, int]) -> None:
    server = start_server(hello_timeout=60, handshake_timeout=60, **limits)
    first = first_bytes(server, kind)
    for _ in range(20):
        server.get()
    baseline = server.memory()
    after: list[float] = []
    for _ in range(3):
        with server.strangers(STRANGERS, first):
            times = [server.get(source=source) for source in ("127.0.0.1", "127.0.0.2") * 3]
            held = server.memory()
        after.append(settled(server, baseline + ALLOWED_GROWTH / 2))

        assert max(times) < 0.5
        assert held - baseline < ALLOWED_GROWTH
    assert max(after) - baseline < ALLOWED_GROWTH / 2
    assert after[2] - after[0] < 2.0


def test_strangers_who_leave_are_forgotten_at_once(start_server: Any) -> None:
    server = start_server(hello_timeout=600, **HOLD_ALL)
    before = server.descriptors()
    with server.strangers(100), server.strangers(100, b"\x16"):
        server.get()
        assert server.descriptors() >= before + 200
    deadline = time.monotonic() + 5
    while server.descriptors() > before and time.monotonic() < deadline:
        time.sleep(0.05)

    assert server.descriptors() <= before


def test_idle_controllers_cost_little(start_server: Any) -> None:
    server = start_server()
    for _ in range(20):
        server.get()
    baseline = server.memory()
    with server.controllers(50):
        assert server.memory() - baseline < ALLOWED_GROWTH / 2
        assert server.get() < 0.5


def test_flood_is_logged_in_few_lines(start_server: Any) -> None:
    server = start_server()
    with server.strangers(STRANGERS) as strangers:
        for stranger in strangers[-100:]:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                stranger.recv(1)

    assert 0 < len(server.log.read_text().splitlines()) <= 30


def test_controller_finds_room_when_descriptors_run_out(start_server: Any) -> None:
    server = start_server(hello_timeout=60, **HOLD_ALL)
    server.get()
    limit = server.descriptors() + 20
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
    with server.strangers(60):
        assert max(server.get() for _ in range(5)) < 2
    assert "Cannot accept a connection: Too many open files" in server.log.read_text()


def test_no_descriptor_and_nobody_to_drop_does_not_spin(start_server: Any) -> None:
    server = start_server()
    with server.controllers(10) as controllers:
        limit = server.descriptors()
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with server.strangers(5):
            before = server.cpu_seconds()
            time.sleep(1.5)
            assert server.cpu_seconds() - before < 0.3
            controllers[0].request("GET", "/")
            assert controllers[0].getresponse().read()
    assert server.get() < 5


@pytest.mark.parametrize("kind", ["nothing", "one byte", "half a hello"])
def test_idle_server_sleeps(start_server: Any, kind: str) -> None:
    server = start_server(hello_timeout=60)
    with server.strangers(10, first_bytes(server, kind)):
        server.get()
        before = server.context_switches()
        time.sleep(2)

        assert server.context_switches() - before <= 4
