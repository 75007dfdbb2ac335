# SPDX-License-Identifier: Apache-2.0
"""Reloads under load, and reloads that cannot work."""

import os
import shutil
import signal
import socket
import threading
import time

import pytest

from amphora.system.command import SEARCH_PATH
from amphora.testing.agent import free_port
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import Load, request_once

ONE = listener_id(1)


def start(agent, listener, *arguments):
    assert agent.upload(listener, configuration(listener, *arguments)).status == 201
    answer = agent.act(listener, "start")
    assert answer.status == 202, answer.json
    return answer


def test_twenty_reloads_under_load_fail_no_request(agent, member):
    port = free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    with Load(port) as load:
        for number in range(20):
            changed = configuration(ONE, [f"127.0.0.1:{port}"], member.port, comment=f"version {number}")
            assert agent.upload(ONE, changed).status == 201
            answer = agent.act(ONE, "reload")
            assert answer.status == 202, answer.json
            load.wait_for(20)
    print(f"{load.good} requests answered during 20 reloads")
    assert load.failures == []
    assert load.good >= 400


def test_a_bind_that_is_taken_is_found_before_the_process_is_signalled(agent, member):
    port, other = free_port(), free_port()
    start(agent, ONE, [f"127.0.0.1:{port}", f"127.0.0.1:{other}"], member.port)
    proven = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    with socket.create_server(("127.0.0.1", 0)) as taken, Load(port, other) as load:
        taken_port = taken.getsockname()[1]
        binds = [f"127.0.0.1:{each}" for each in (port, other, taken_port)]
        assert agent.upload(ONE, configuration(ONE, binds, member.port)).status == 201
        answer = agent.act(ONE, "reload")
        load.wait_for(100)
    assert answer.status == 500
    assert answer.json["message"] == "Error reloading haproxy"
    assert f"127.0.0.1:{taken_port}" in answer.json["details"]
    assert "in use by" in answer.json["details"]
    assert "No process was touched" in answer.json["details"]
    assert load.failures == []
    assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == proven
    assert (agent.base_path / ONE / "haproxy.cfg").read_bytes() == proven
    assert agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "ACTIVE"


def test_after_a_refused_reload_the_next_good_one_works(agent, member):
    port, second = free_port(), free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    with socket.create_server(("127.0.0.1", second)):
        agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}", f"127.0.0.1:{second}"], member.port))
        assert agent.act(ONE, "reload").status == 500
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}", f"127.0.0.1:{second}"], member.port))
    assert agent.act(ONE, "reload").status == 202
    assert request_once(second) is None


def test_two_listeners_cannot_share_a_port(agent, member):
    port = free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    two = listener_id(2)
    agent.upload(two, configuration(two, [f"127.0.0.1:{port}"], member.port))
    answer = agent.act(two, "start")
    assert answer.status == 500
    assert "in use by haproxy" in answer.json["details"]


def test_a_first_start_that_cannot_bind_leaves_the_upload_and_no_process(agent, member):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        body = configuration(ONE, [f"127.0.0.1:{taken.getsockname()[1]}"], member.port)
        agent.upload(ONE, body)
        answer = agent.act(ONE, "start")
    assert (answer.status, answer.json["message"]) == (500, "Error starting haproxy")
    assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == body
    assert agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "STOPPED"
    assert agent.act(ONE, "start").status == 202, "the port is free again"


def test_a_configuration_that_allows_no_warning_runs_whatever_else_it_says(agent, member):
    port = free_port()
    head = b"global\n    daemon\n    user nobody\n    pidfile /run/amp-nowhere.pid\n    zero-warning\n"
    body = head + configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    assert agent.upload(ONE, body).status == 201
    for action in ("start", "reload"):
        answer = agent.act(ONE, action)
        assert answer.status == 202, answer.json
        assert request_once(port) is None
    assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == body
    assert (agent.base_path / ONE / "haproxy.cfg").read_bytes() == body


#: A haproxy that a check of some configurations kills.
CRASHING_CHECK = """#!/bin/sh
case " $* " in
    *" -c "*) grep -q "^ *option external-check" {base}/*/*.cfg* && kill -SEGV $$ ;;
esac
exec {haproxy} "$@"
"""


def test_a_crash_of_haproxy_is_not_taken_for_a_fault_of_the_configuration(stopped_agent, member):
    agent, haproxy = stopped_agent, stopped_agent.directory / "haproxy"
    real = shutil.which("haproxy", path=SEARCH_PATH)
    haproxy.write_text(CRASHING_CHECK.format(base=agent.base_path, haproxy=real))
    haproxy.chmod(0o755)
    agent.configure({"haproxy_amphora": {"haproxy_cmd": haproxy}})
    agent.start()
    port = free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    answer = agent.upload(ONE, good + b"    option external-check\n")
    assert answer.status == 500, "the configuration is not proven bad"
    assert "haproxy itself crashed (signal 11, Segmentation fault)" in answer.json["details"]
    assert "invalid" not in answer.json["message"].lower()
    assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == good
    assert request_once(port) is None
    assert agent.act(ONE, "reload").status == 202


SLOW_CHECK = """#!/bin/sh
case " $* " in
    *" -c "*{listener}*) while [ -e "{flag}" ]; do sleep 0.1; done ;;
esac
exec {haproxy} "$@"
"""


def test_reads_do_not_wait_for_a_change_and_other_listeners_change_meanwhile(stopped_agent, member):
    agent, flag = stopped_agent, stopped_agent.directory / "slow"
    haproxy = agent.directory / "haproxy"
    haproxy.write_text(
        SLOW_CHECK.format(listener=ONE, flag=flag, haproxy=shutil.which("haproxy", path=SEARCH_PATH))
    )
    haproxy.chmod(0o755)
    agent.configure({"haproxy_amphora": {"haproxy_cmd": haproxy}})
    agent.start()
    port, other_port, two = free_port(), free_port(), listener_id(2)
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    slow = threading.Thread(target=agent.act, args=(ONE, "reload"))
    flag.touch()
    slow.start()
    for _ in range(20):
        assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").status == 200
        assert agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "ACTIVE"
    start(agent, two, [f"127.0.0.1:{other_port}"], member.port)
    still_at_work = slow.is_alive()
    flag.unlink()
    slow.join()
    assert still_at_work, "the reads and the other start waited for the slow change"
    assert request_once(port) is None


def test_a_reload_of_a_frozen_haproxy_is_refused_untouched(agent, member):
    port = free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    master = int((agent.base_path / ONE / f"{ONE}.pid").read_text().split()[0])
    os.kill(master, signal.SIGSTOP)
    try:
        answer = agent.act(ONE, "reload")
        assert answer.status == 500
        assert "No process was touched" in answer.json["details"]
        assert request_once(port) is None
    finally:
        os.kill(master, signal.SIGCONT)


def test_a_reload_right_after_a_kill_is_done(agent, member):
    port = free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    for number in range(20):
        new = free_port()
        body = configuration(ONE, [f"127.0.0.1:{port}", f"127.0.0.1:{new}"], member.port)
        assert agent.upload(ONE, body).status == 201
        os.kill(int((agent.base_path / ONE / f"{ONE}.pid").read_text().split()[0]), signal.SIGKILL)
        # From still known to run until after it was started again.
        time.sleep(number * 0.015)
        answer = agent.act(ONE, "reload")
        assert answer.status == 202, (number, answer.json)
        assert (request_once(port), request_once(new)) == (None, None)
        assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == body


UPGRADED = """#!/bin/sh
[ "$*" = -vv ] && printf 'HAProxy version 3.0.0\\nFeature list : +SYSTEMD\\n' && exit
exec {haproxy} "$@"
"""


def test_a_haproxy_that_is_older_than_its_file_is_reloaded_all_the_same(stopped_agent, member):
    # A 2.6 that runs on after an upgrade says nothing of how its reload went.
    agent = stopped_agent
    haproxy = agent.directory / "haproxy"
    haproxy.write_text(UPGRADED.format(haproxy=shutil.which("haproxy", path=SEARCH_PATH)))
    haproxy.chmod(0o755)
    agent.configure({"haproxy_amphora": {"haproxy_cmd": haproxy}})
    agent.start()
    port, new = free_port(), free_port()
    start(agent, ONE, [f"127.0.0.1:{port}"], member.port)
    with Load(port) as load:
        binds = [f"127.0.0.1:{port}", f"127.0.0.1:{new}"]
        assert agent.upload(ONE, configuration(ONE, binds, member.port)).status == 201
        assert agent.act(ONE, "reload").status == 202
        load.wait_for(20)
    assert load.failures == []
    assert request_once(new) is None


@pytest.mark.parametrize("count", [12])
def test_different_listeners_start_side_by_side(agent, member, count):
    ports = {listener_id(number): free_port() for number in range(1, count + 1)}
    threads = [
        threading.Thread(target=start, args=(agent, listener, [f"127.0.0.1:{port}"], member.port))
        for listener, port in ports.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = agent.call("GET", "/v0.1/listeners").json
    assert [each["status"] for each in statuses] == ["ACTIVE"] * count
    assert all(request_once(port) is None for port in ports.values())
