# SPDX-License-Identifier: Apache-2.0
"""The fact that chose our server: elsewhere one idle connection makes a controller wait more than 25 s."""

from __future__ import annotations

import select
import socket
from typing import Any

import pytest

pytestmark = pytest.mark.real_commands

#: Seconds; far more than a busy machine needs, far less than any of the time limits below.
SOON = 8.0
PATIENT = {"hello_timeout": 600, "handshake_timeout": 600}


def still_open(connections: list[socket.socket]) -> bool:
    """Whether the server has neither closed nor said anything on any of them."""
    return not select.select(connections, [], [], 0)[0]


@pytest.mark.parametrize("count", [1, 8, 50])
def test_a_request_does_not_wait_for_idle_connections(start_server: Any, report: Any, count: int) -> None:
    server = start_server(**PATIENT)
    server.get()
    times = []
    for first in (b"", b"\x16"):
        with server.strangers(count, first) as strangers:
            times += [server.get(source=source) for source in ("127.0.0.1", "127.0.0.2") * 3]
            assert still_open(strangers), "they were not there all the time"
    report(f"beside {count} idle connections a request took {max(times):.3f} s at most")
    assert max(times) < SOON


def test_a_request_does_not_wait_for_idle_controllers(start_server: Any) -> None:
    server = start_server(**PATIENT)
    with server.controllers(8) as controllers:
        assert server.get() < SOON
        for each in controllers:
            each.request("GET", "/")
            assert each.getresponse().read(), "it was closed meanwhile"
