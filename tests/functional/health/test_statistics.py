# SPDX-License-Identifier: Apache-2.0
"""Bytes and connections told are exactly those that clients made, whatever happens to processes."""

import os
import signal
import socket
import time

from amphora.system.processes import children_of
from tests.support.heartbeats import Worker


def test_bytes_and_connections_match(make_balancer, make_monitor, make_client):
    balancer, monitor = make_balancer(listeners=2), make_monitor()
    first, second = balancer.ports.items()
    for name, _ in (first, second):
        monitor.until_serving(name)
    clients = [make_client(first[1]) for _ in range(3)]
    for client in clients:
        client.exchange(100_000)
    message = monitor.until(lambda message: message["listeners"][first[0]]["stats"]["conns"] == 3)
    assert message["listeners"][second[0]]["stats"] == dict.fromkeys(
        ("rx", "tx", "conns", "totconns", "ereq"), 0
    )
    for client in clients:
        client.close()
    monitor.until_told(first[0], 300_000, 3)


def test_nothing_is_lost_over_reloads(make_balancer, make_monitor, make_client):
    balancer, monitor = make_balancer(), make_monitor()
    monitor.until_serving(balancer.listener)
    sent = connections = 0
    for _ in range(3):
        client = make_client(balancer.port)
        client.exchange(5_000)
        # At once, so that nobody can have looked since: the worker must outlive its last client.
        client.close()
        balancer.reload()
        monitor.until_next_generation(balancer.listener)
        sent, connections = sent + 5_000, connections + 1
        monitor.until_told(balancer.listener, sent, connections)
    # Nobody holds the replaced workers any longer than that.
    monitor.until(lambda _: len(children_of(balancer.process.pid)) == 1)


def test_connections_that_outlive_a_reload_go_on_counting(make_balancer, make_monitor, make_client):
    balancer, monitor = make_balancer(), make_monitor()
    monitor.until_serving(balancer.listener)
    old = make_client(balancer.port)
    old.exchange(1_000)
    monitor.until(lambda message: message["listeners"][balancer.listener]["stats"]["conns"] == 1)
    balancer.reload()
    monitor.until_next_generation(balancer.listener)
    new = make_client(balancer.port)
    # More than the old worker has, so that smaller numbers do not give the new one away.
    new.exchange(9_000)
    old.exchange(2_000)
    message = monitor.until(lambda message: message["listeners"][balancer.listener]["stats"]["conns"] == 2)
    assert message["listeners"][balancer.listener]["status"] == "OPEN"
    old.close()
    new.close()
    monitor.until_told(balancer.listener, 12_000, 2)


def test_a_restart_of_haproxy_keeps_totals(make_balancer, make_monitor, make_client):
    balancer, monitor = make_balancer(), make_monitor()
    for sent in (5_000, 10_000):
        monitor.until_serving(balancer.listener)
        client = make_client(balancer.port)
        client.exchange(5_000)
        client.close()
        monitor.until_told(balancer.listener, sent, sent // 5_000)
        balancer.stop()
        monitor.until(lambda message: not message["listeners"])
        balancer.start()


def test_a_restart_of_the_agent_keeps_totals_even_if_haproxy_was_reloaded_meanwhile(
    make_balancer, make_monitor, make_client
):
    balancer, monitor = make_balancer(), make_monitor()
    monitor.until_serving(balancer.listener)

    def transfer(count):
        client = make_client(balancer.port)
        client.exchange(count)
        client.close()

    transfer(5_000)
    monitor.until_told(balancer.listener, 5_000, 1)
    monitor.stop()
    transfer(3_000)
    monitor.start()
    monitor.until_told(balancer.listener, 8_000, 2)
    monitor.stop()
    balancer.stop()
    balancer.start()
    wait_until_serving(balancer, make_client)
    # Again more than before.
    transfer(20_000)
    monitor.start()
    monitor.until(lambda _: monitor.sums[balancer.listener][0] >= 28_000)
    assert monitor.sums[balancer.listener][0] == 28_000


def wait_until_serving(balancer, make_client):
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            return make_client(balancer.port).close()
        except OSError:
            time.sleep(0.02)
    raise TimeoutError


def test_a_silent_stats_socket_delays_nobody(make_balancer, make_monitor):
    balancer, hung = make_balancer(), make_balancer(start=False)
    worker = Worker(hung.layout.stats_socket)
    worker.answers.clear()
    try:
        monitor = make_monitor(interval=0.1)
        monitor.until_serving(balancer.listener)
        began = time.monotonic()
        messages = [monitor.receiver.next() for _ in range(20)]
        # It would be 20 s and more if each waited its second for the silent one.
        assert time.monotonic() - began < 15
        assert all(set(message["listeners"]) == {balancer.listener} for message in messages)
    finally:
        worker.close()


def test_a_stopped_process_delays_nobody_and_comes_back(make_balancer, make_monitor):
    balancer, stopped = make_balancer(), make_balancer()
    monitor = make_monitor(interval=0.1)
    both = {balancer.listener, stopped.listener}
    monitor.until(lambda message: set(message["listeners"]) == both)
    (worker,) = children_of(stopped.process.pid)
    os.kill(worker, signal.SIGSTOP)
    try:
        monitor.until(lambda message: set(message["listeners"]) == {balancer.listener})
        began = time.monotonic()
        for _ in range(20):
            monitor.receiver.next()
        assert time.monotonic() - began < 15
    finally:
        os.kill(worker, signal.SIGCONT)
    monitor.until(lambda message: set(message["listeners"]) == both)


def test_a_change_of_state_is_told_long_before_its_turn(make_balancer, make_monitor):
    member = socket.create_server(("127.0.0.1", 0))
    balancer = make_balancer(member.getsockname()[1])
    monitor = make_monitor(interval=3600)
    name = f"pool:{balancer.listener}"

    def told(state):
        expected = {"status": state, "members": {"member": state}}
        return lambda message: message["pools"].get(name) == expected

    monitor.until(told("UP"))
    member.close()
    monitor.until(told("DOWN"))
