# SPDX-License-Identifier: Apache-2.0
"""Details of a busy amphora, and its own certificate while controllers poll."""

import socket
import ssl
import statistics
import sys
import threading
import time
from pathlib import Path

import pytest

from amphora.testing.agent import AgentProcess, free_port
from amphora.testing.agent_client import AMPHORA_ID
from tests.support.listeners import configuration, listener_id

SCRIPT = Path(__file__).parents[2] / "support" / "forks_counted.py"
ROTATIONS, CLIENTS = 50, 4


@pytest.fixture
def counted(memory_dir, monkeypatch):
    """An agent that notes each process it starts."""
    forks = memory_dir / "forks"
    forks.touch()
    monkeypatch.setenv("AMPHORA_TEST_FORKS", str(forks))
    agent = AgentProcess(memory_dir, command=[sys.executable, str(SCRIPT)])
    agent.forks = lambda: forks.stat().st_size
    agent.start()
    yield agent
    agent.clean_up()


def median_of_details(agent, count=30):
    taken = []
    for _ in range(count):
        began = time.perf_counter()
        answer = agent.call("GET", "/v0.1/details")
        taken.append(time.perf_counter() - began)
        assert answer.status == 200
    return statistics.median(taken)


def test_details_of_two_hundred_listeners_cost_little_and_start_no_process(counted, member):
    port = free_port()

    def upload(number):
        body = configuration(listener_id(number), [f"127.0.0.1:{port}"], member.port)
        assert counted.upload(listener_id(number), body).status == 201

    upload(1)
    assert counted.act(listener_id(1), "start").status == 202
    with_one = median_of_details(counted)
    for number in range(2, 201):
        upload(number)
    before = counted.forks()
    with_many = median_of_details(counted)
    assert counted.forks() == before > 0
    details = counted.call("GET", "/v0.1/details").json
    assert len(details["listeners"]) == 200
    assert details["haproxy_count"] == 1
    assert details["uuid"] == AMPHORA_ID
    print(f"details: {with_one * 1000:.1f} ms with 1 listener, {with_many * 1000:.1f} ms with 200")
    assert with_many < 10 * with_one


class Poller:
    """Makes requests on fresh connections and notes which certificate answered each."""

    def __init__(self, agent):
        self._agent = agent
        self._context = agent.pki.client_context(agent.client)
        self._ends = threading.Event()
        self.serials = []
        self.failures = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self):
        self._ends.set()
        self._thread.join()

    def _run(self):
        while not self._ends.is_set():
            try:
                self.serials.append(served_serial(self._agent, self._context))
            except (OSError, ssl.SSLError, AssertionError) as error:
                self.failures.append(repr(error))


def served_serial(agent, context):
    plain = socket.create_connection(("127.0.0.1", agent.port), 10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        serial = int(tls.getpeercert()["serialNumber"], 16)
        tls.sendall(b"GET /info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert tls.recv(12) == b"HTTP/1.1 200"
        return serial


def test_fifty_rotations_under_polling_fail_no_connection(agent):
    context = agent.pki.client_context(agent.client)
    pollers = [Poller(agent) for _ in range(CLIENTS)]
    installed = []
    try:
        for number in range(ROTATIONS):
            leaf = agent.pki.server("127.0.0.1", file_name=f"rotated-{number}.pem")
            answer = agent.call("PUT", "/v0.1/certificate", leaf.path.read_bytes())
            assert answer.status == 202, answer.json
            serial = served_serial(agent, context)
            assert serial not in installed, "the new certificate is served at once"
            installed.append(serial)
    finally:
        for poller in pollers:
            poller.close()
    assert [failure for poller in pollers for failure in poller.failures] == []
    seen = {serial for poller in pollers for serial in poller.serials}
    print(f"{sum(len(poller.serials) for poller in pollers)} requests polled, {len(seen)} certificates seen")
    assert len(seen) > ROTATIONS / 2
    assert agent.stop() == 0
    agent.start()
    assert served_serial(agent, context) == installed[-1], "it outlives a restart"


def test_a_certificate_that_cannot_be_used_is_refused(agent):
    context = agent.pki.client_context(agent.client)
    serial = served_serial(agent, context)
    other = agent.pki.server("other", file_name="other.pem")
    mine = agent.pki.server("127.0.0.1", file_name="mine.pem")
    for body in (b"", b"nonsense", mine.key_pem, mine.certificate_pem + other.key_pem):
        assert agent.call("PUT", "/v0.1/certificate", body).status == 400
    assert served_serial(agent, context) == serial
