# SPDX-License-Identifier: Apache-2.0
"""Old workers of a real haproxy, as the agent counts and reports them for each instance."""

import contextlib
import os
import re
import signal
import socket
import time

import pytest

from amphora.haproxy.control.master import MasterSocket
from amphora.haproxy.control.old_workers import MANY
from amphora.testing.agent import free_port
from tests.support.listeners import POOL, hidden_frontend, listener_id

ONE, TWO = listener_id(1), listener_id(2)

CONFIGURATION = """\
defaults
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout server-fin 100ms
frontend {listener}
    bind 127.0.0.1:{port}
    default_backend {pool}
backend {pool}
    server one 127.0.0.1:{member}
"""


@pytest.fixture
def holder():
    """A server that takes connections and says nothing; returns its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def clients():
    made = []
    yield made
    for client in made:
        client.close()


def start(agent, listener, holder):
    port = free_port()
    text = CONFIGURATION.format(listener=listener, port=port, member=holder, pool=POOL)
    assert agent.upload(listener, text.encode()).status == 201
    assert agent.act(listener, "start").status == 202
    return port


def instance(agent, listener=ONE):
    answer = agent.call("GET", f"/extensions/instances/{listener}")
    assert answer.status == 200, answer.body
    return answer.json


def measured(agent, listener, generation):
    """Return the number of workers that the metrics tell."""
    text = agent.call("GET", "/extensions/metrics").body.decode()
    name = f'amphora_agent_haproxy_workers{{instance_id="{listener}",generation="{generation}"}}'
    return int(re.search(rf"^{re.escape(name)} (\d+)$", text, re.MULTILINE)[1])


def eventually(question):
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def connect(agent, listener, port):
    """Return a connection that the current worker has taken."""
    client = socket.create_connection(("127.0.0.1", port), timeout=5)
    worker = instance(agent, listener)["worker"]["pid"]
    local = client.getsockname()[1]
    eventually(lambda: holds(worker, port, local))
    return client


def holds(pid, port, peer):
    """Whether a process has the accepted side of a connection of loopback."""
    with open("/proc/net/tcp") as table:
        fields = [line.split() for line in table]
    inodes = {each[9] for each in fields if each[1:3] == [f"0100007F:{port:04X}", f"0100007F:{peer:04X}"]}
    return any(inode_of(f"/proc/{pid}/fd/{number}") in inodes for number in os.listdir(f"/proc/{pid}/fd"))


def inode_of(path):
    """Return the inode of a socket's descriptor, which may have been closed meanwhile."""
    with contextlib.suppress(OSError):
        return os.readlink(path).removeprefix("socket:[").removesuffix("]")


def test_they_are_counted_while_connections_stay_and_go_with_them(agent, holder, clients):
    port = start(agent, ONE, holder)
    start(agent, TWO, holder)
    for number in range(4):
        assert instance(agent)["old_worker_count"] == number
        clients.append(connect(agent, ONE, port))
        assert agent.act(ONE, "reload").status == 202
    told = instance(agent)
    by_master = MasterSocket(agent.base_path / ONE / "master.sock", 5).processes()
    assert told["master"]["pid"] == by_master.master.pid
    assert [told["worker"]["pid"]] == [worker.pid for worker in by_master.workers]
    old = [worker["pid"] for worker in told["old_workers"]]
    assert sorted(old) == sorted(worker.pid for worker in by_master.old_workers)
    assert told["old_worker_count"] == len(old) == measured(agent, ONE, "old") == 4
    assert measured(agent, ONE, "current") == measured(agent, TWO, "current") == 1
    assert instance(agent, TWO)["old_worker_count"] == measured(agent, TWO, "old") == 0
    assert told["last_operation"]["kind"] == "reload"
    # The first of them has the first client.
    clients.pop(0).close()
    eventually(lambda: [each["pid"] for each in instance(agent)["old_workers"]] == old[1:])
    for client in clients:
        client.close()
    eventually(lambda: measured(agent, ONE, "old") == 0)
    assert instance(agent)["worker"] == told["worker"]


def test_many_are_warned_of_once(agent, holder, clients):
    port = start(agent, ONE, holder)
    for _ in range(MANY + 2):
        clients.append(connect(agent, ONE, port))
        assert agent.act(ONE, "reload").status == 202
    assert instance(agent)["old_worker_count"] == MANY + 2
    log = agent.log_path.read_text()
    assert log.count(" old workers whose clients stay connected") == 1
    assert f"{ONE} has {MANY + 1} old workers" in log


def test_limits_are_those_that_haproxy_runs_with(stopped_agent, holder):
    agent = stopped_agent
    agent.configure({"haproxy_amphora": {"haproxy_drain_time": 600, "haproxy_max_old_workers": 3}})
    agent.start()
    start(agent, ONE, holder)
    assert instance(agent)["limits"] == {
        "hard-stop-after": "600s",
        "mworker-max-reloads": None,
        "haproxy_max_old_workers": 3,
    }
    assert agent.act(ONE, "stop").status == 202
    told = instance(agent)
    assert (told["state"], told["master"], told["worker"]) == ("stopped", None, None)
    assert told["limits"] == dict.fromkeys(
        ("hard-stop-after", "mworker-max-reloads", "haproxy_max_old_workers")
    )


def is_cut(client):
    """Whether a connection ends within some seconds."""
    client.settimeout(5)
    with contextlib.suppress(TimeoutError):
        return client.recv(1) == b""
    return False


def test_refused_reloads_count_for_nothing_before_a_good_one(stopped_agent, holder, clients):
    agent = stopped_agent
    agent.configure({"haproxy_amphora": {"haproxy_max_old_workers": 2}})
    agent.start()
    port = start(agent, ONE, holder)
    good = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    clients.append(connect(agent, ONE, port))
    served = instance(agent)["worker"]["pid"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bad = good + hidden_frontend(taken.getsockname()[1])
        for _ in range(3):
            assert agent.upload(ONE, bad).status == 201
            assert agent.act(ONE, "reload").status == 500
    assert agent.upload(ONE, good).status == 201
    assert agent.act(ONE, "reload").status == 202
    assert not is_cut(clients[0]), "by reloads that were refused"
    assert [worker["pid"] for worker in instance(agent)["old_workers"]][:1] == [served]
    for _ in range(2):
        clients.append(connect(agent, ONE, port))
        assert agent.act(ONE, "reload").status == 202
    assert is_cut(clients[0]), "of three old workers with clients the oldest is ended"
    assert not is_cut(clients[1])
    assert f"old worker {served} of " in agent.log_path.read_text()


def test_a_master_that_is_silent_or_has_no_socket_is_not_waited_for(agent, holder, clients):
    port = start(agent, ONE, holder)
    clients.append(connect(agent, ONE, port))
    assert agent.act(ONE, "reload").status == 202
    before = instance(agent)
    master = before["master"]["pid"]
    os.kill(master, signal.SIGSTOP)
    try:
        (agent.base_path / ONE / "master.sock").unlink()
        began = time.monotonic()
        for _ in range(10):
            assert instance(agent) == before
            assert measured(agent, ONE, "old") == 1
        # A second for each answer of a master that is waited for would make 20.
        assert time.monotonic() - began < 10
    finally:
        os.kill(master, signal.SIGCONT)
