# SPDX-License-Identifier: Apache-2.0
"""A connection to a real worker that stays open, whatever version of haproxy is installed."""

import select
import time

import pytest

from amphora.haproxy.control.worker_link import WorkerLink
from amphora.haproxy.proof.prove import prove


@pytest.fixture
def link(haproxy, serving, free_port):
    haproxy.write(serving(f"127.0.0.1:{free_port()}"))
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, haproxy.configuration, time.monotonic() + 10)
    link = WorkerLink(haproxy.settings.stats_socket)
    yield link
    link.close()


def test_a_real_worker_answers_again_and_again(haproxy, link):
    pid = haproxy.stats.worker_pid()
    for _ in range(3):
        link.ask()
        found, deadline = None, time.monotonic() + 5
        while found is None and select.select([link], [], [], max(deadline - time.monotonic(), 0))[0]:
            found = link.receive()
        assert found is not None, "it was asked and did not answer in time"
        assert found.generation.startswith(f"{pid}-")
        assert [row.status for row in found.rows if row.is_frontend and row.proxy == "f1"] == ["OPEN"]
        assert not link.is_asked
