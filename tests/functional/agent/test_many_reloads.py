# SPDX-License-Identifier: Apache-2.0
"""Reloads on whatever haproxy this machine has, under load, while connections stay open over them."""

import re
import socket
import socketserver
import threading

import pytest

from amphora.haproxy.control.stats import StatsSocket
from amphora.testing.agent import free_port
from tests.support.listeners import configuration, hidden_frontend, listener_id
from tests.support.traffic import Load, request_once

ONE, TWO = listener_id(1), listener_id(2)
CONNECTIONS = 50
GENERATIONS = 5

TUNNEL = """\
frontend tunnel
    mode tcp
    bind 127.0.0.1:{port}
    timeout client 1h
    default_backend echo
backend echo
    mode tcp
    timeout server 1h
    server echo 127.0.0.1:{echo}
"""


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets, for as long as its client stays."""

    daemon_threads = True
    request_queue_size = 100

    class RequestHandlerClass(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(64):
                self.request.sendall(data)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.RequestHandlerClass)


@pytest.fixture
def echo():
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


class Tunnels:
    """Connections that stay open."""

    def __init__(self, port):
        self._port = port
        self._open = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for each in self._open:
            each.close()

    def add(self, count):
        self._open += [socket.create_connection(("127.0.0.1", self._port), 10) for _ in range(count)]
        assert self.alive() == len(self._open)

    def alive(self):
        return sum(answers(each) for each in self._open)


def answers(connection):
    try:
        connection.sendall(b"x")
        return connection.recv(1) == b"x"
    except OSError:
        return False


def start(agent, listener, body):
    assert agent.upload(listener, body).status == 201
    answer = agent.act(listener, "start")
    assert answer.status == 202, answer.json


def instance(agent):
    return agent.call("GET", f"/extensions/instances/{ONE}").json


def reload(agent):
    """Reload, and compare the evidence with what runs."""
    before = instance(agent)
    answer = agent.act(ONE, "reload")
    assert answer.status == 202, answer.json
    now = instance(agent)
    evidence = agent.call("GET", "/extensions/operations").json["operations"][-1]["evidence"]
    worker, master, count = map(
        int, re.match(r"worker (\d+) of master (\d+) serves .*; reloads: (\d+);", evidence).groups()
    )
    assert worker == now["worker"]["pid"] != before["worker"]["pid"], evidence
    assert worker == StatsSocket(agent.base_path / ONE / "agent.sock", 5).worker_pid(), evidence
    assert master == now["master"]["pid"] == before["master"]["pid"], evidence
    return count


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_reloads_under_load_fail_no_request_and_cut_no_connection(agent, member, echo, count):
    port, tunnel = free_port(), free_port()
    body = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    body += TUNNEL.format(port=tunnel, echo=echo).encode()
    start(agent, ONE, body)
    with Tunnels(tunnel) as tunnels, Load(port, pause=0.01) as load:
        for number in range(count):
            if number < GENERATIONS:
                tunnels.add(CONNECTIONS // GENERATIONS)
            assert agent.upload(ONE, body + f"# {number}\n".encode()).status == 201
            assert reload(agent) == number + 1
            load.wait_for(20)
        assert tunnels.alive() == CONNECTIONS
        assert len(instance(agent)["old_workers"]) == GENERATIONS
    print(f"{load.good} requests answered during {count} reloads, {CONNECTIONS} connections open")
    assert load.failures == []


@pytest.fixture
def taken():
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_bind_that_is_taken_costs_no_request_and_the_serving_worker_is_named(agent, member, taken):
    port = free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    start(agent, ONE, good)
    runs = instance(agent)
    with Load(port) as load:
        both = configuration(ONE, [f"127.0.0.1:{port}", f"127.0.0.1:{taken}"], member.port)
        assert agent.upload(ONE, both).status == 201
        answer = agent.act(ONE, "reload")
        load.wait_for(50)
    assert answer.status == 500
    assert f"127.0.0.1:{taken}: in use by" in answer.json["details"]
    assert f"Worker {runs['worker']['pid']} goes on serving." in answer.json["details"]
    assert load.failures == []
    assert (instance(agent)["worker"], instance(agent)["master"]) == (runs["worker"], runs["master"])
    assert reload(agent) == 1


def test_a_reload_that_haproxy_fails_names_the_serving_worker_and_the_next_one_works(
    agent, member, echo, taken
):
    port, tunnel, other = free_port(), free_port(), free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    good += TUNNEL.format(port=tunnel, echo=echo).encode()
    start(agent, ONE, good)
    start(agent, TWO, configuration(TWO, [f"127.0.0.1:{other}"], member.port))
    with Tunnels(tunnel) as tunnels, Load(other) as load:
        # An old worker, which is not the one that goes on serving.
        tunnels.add(3)
        reload(agent)
        for _ in range(2):
            serving = instance(agent)
            tunnels.add(3)
            assert agent.upload(ONE, good + hidden_frontend(taken)).status == 201
            answer = agent.act(ONE, "reload")
            assert answer.status == 500, answer.body
            assert f"it goes on with worker {serving['worker']['pid']}" in answer.json["details"]
            assert f"[127.0.0.1:{taken}]" in answer.json["details"]
            assert "haproxy goes on with its last proven configuration" in answer.json["details"]
            assert request_once(port) is None
            reload(agent)
        load.wait_for(20)
        assert tunnels.alive() == 9
    assert load.failures == []
