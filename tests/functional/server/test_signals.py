# SPDX-License-Identifier: Apache-2.0
"""Certificates rotate and the process ends without a client noticing."""

from __future__ import annotations

import signal
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.real_commands


def served_certificate(server: Any) -> bytes:
    client = server.client()
    client.connect()
    certificate: bytes = client.sock.getpeercert(binary_form=True)
    client.close()
    return certificate


def poll(server: Any, stop: threading.Event, fresh: bool) -> int:
    """Send requests until told to stop; any failure raises."""
    client = server.client()
    count = 0
    while not stop.is_set():
        client.request("PUT", "/", body=b"x" * 10_000)
        response = client.getresponse()
        assert response.status == 200
        response.read()
        count += 1
        if fresh:
            client.close()
    client.close()
    return count


def test_certificate_rotates_under_polling_clients(
    start_server: Any, renew_certificate: Callable[..., Any]
) -> None:
    server = start_server()
    stop = threading.Event()
    with ThreadPoolExecutor(4) as pollers:
        counts = [pollers.submit(poll, server, stop, fresh) for fresh in (True, True, False, False)]
        try:
            for _ in range(5):
                expected = ssl.PEM_cert_to_DER_cert(renew_certificate(server).certificate_pem.decode())
                server.signal(signal.SIGHUP)
                deadline = time.monotonic() + 10
                while served_certificate(server) != expected:
                    assert time.monotonic() < deadline
        finally:
            stop.set()

    assert all(count.result() > 5 for count in counts)


def test_sigterm_lets_a_running_request_finish(start_server: Any) -> None:
    server = start_server()
    client = server.client()
    client.request("GET", "/slow?1.0")
    server.get()  # by now the slow one is under way, too
    server.signal(signal.SIGTERM)
    response = client.getresponse()

    assert response.status == 200
    response.read()
    client.close()
    assert server.wait() == 0


def test_sigterm_cuts_off_after_the_grace(start_server: Any) -> None:
    server = start_server(shutdown_grace=0.3)
    client = server.client()
    client.request("GET", "/slow?20")
    server.get()
    started = time.monotonic()
    server.signal(signal.SIGTERM)

    assert server.wait() == 1
    assert time.monotonic() - started < 5
    client.close()
