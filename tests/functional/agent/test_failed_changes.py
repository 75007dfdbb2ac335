# SPDX-License-Identifier: Apache-2.0
"""Starts and reloads that fail after pre-flight has passed them, and what is the case afterwards."""

import contextlib
import socket
import time

import pytest

from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.system.processes import children_of
from amphora.testing.agent import free_port
from tests.support.listeners import configuration, hidden_frontend, listener_id
from tests.support.traffic import request_once

ONE = listener_id(1)
ALERT = "[ALERT]"


@pytest.fixture
def taken():
    """A port that somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def stored(agent):
    return agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body


def master_of(agent):
    return int((agent.base_path / ONE / f"{ONE}.pid").read_text().split()[0])


def started(agent, body):
    assert agent.upload(ONE, body).status == 201
    answer = agent.act(ONE, "start")
    assert answer.status == 202, answer.json
    return master_of(agent)


def refused(agent, action):
    """Return the details of an action that fails."""
    answer = agent.act(ONE, action)
    assert answer.status == 500, answer.body
    return answer.json["details"]


def last_operation(agent):
    return agent.call("GET", "/extensions/operations").json["operations"][-1]


def test_a_reload_that_haproxy_refuses_is_undone_and_told_in_its_words(agent, member, taken):
    port = free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    master = started(agent, good)
    former = children_of(master)
    assert agent.upload(ONE, good + hidden_frontend(taken)).status == 201
    details = refused(agent, "reload")
    assert f"goes on with worker {former[0]}" in details
    assert ALERT in details
    assert f"[127.0.0.1:{taken}]" in details
    assert "haproxy goes on with its last proven configuration" in details
    assert (stored(agent), master_of(agent)) == (good, master)
    assert (agent.base_path / ONE / "running.cfg").read_bytes() == good
    assert request_once(port) is None
    assert children_of(master) != former, "the restored configuration was loaded anew"
    assert last_operation(agent)["state"] == "undone"
    assert agent.act(ONE, "reload").status == 202


def test_words_are_of_this_change_alone(agent, member, taken):
    good = configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port)
    started(agent, good)
    assert agent.upload(ONE, good + hidden_frontend(taken)).status == 201
    assert f"[127.0.0.1:{taken}]" in refused(agent, "reload")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert agent.upload(ONE, good + hidden_frontend(port)).status == 201
        details = refused(agent, "reload")
    assert f"[127.0.0.1:{port}]" in details
    assert f"[127.0.0.1:{taken}]" not in details


def test_when_going_back_fails_too_both_failures_are_told_and_the_worker_serves_on(agent, member, taken):
    port, page = free_port(), agent.directory / "503.http"
    page.write_text("HTTP/1.0 503 Service Unavailable\r\n\r\n")
    plain = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    good = plain.replace(b"    mode http\n", f"    mode http\n    errorfile 503 {page}\n".encode(), 1)
    master = started(agent, good)
    worker = children_of(master)
    page.unlink()
    assert agent.upload(ONE, plain + hidden_frontend(taken)).status == 201
    details = refused(agent, "reload")
    first, _, second = details.partition("Additionally, restoring the former state failed: ")
    assert f"[127.0.0.1:{taken}]" in first
    assert str(page) in second
    assert request_once(port) is None
    assert (master_of(agent), children_of(master)) == (master, worker)
    assert last_operation(agent)["state"] == "failed"
    directory = agent.base_path / ONE
    on_disk = [directory / name for name in ("haproxy.cfg", "running.cfg", "proven.cfg")]
    assert [path.read_bytes() for path in on_disk] == [good] * 3, "no later start loads what has failed"
    assert [path.name for path in HaproxyFiles(agent.base_path, ONE).transient if path.exists()] == []
    assert agent.upload(ONE, plain).status == 201
    assert agent.act(ONE, "reload").status == 202, "the next good configuration is taken"
    assert last_operation(agent)["state"] == "done"
    assert request_once(port) is None


def test_a_haproxy_that_ends_of_what_it_loads_is_not_waited_for(agent, member, capabilities):
    port = free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    master = started(agent, good)
    # Its check passes, and no worker can be made of it.
    assert agent.upload(ONE, b"global\n    noepoll\n    nopoll\n" + good).status == 201
    began = time.monotonic()
    details = refused(agent, "reload")
    seconds = time.monotonic() - began
    print(f"undone after {seconds:.2f} s")
    # A worker that cannot begin is a failed reload from 3.1 on; before, the master ends with all of them.
    goes_on = capabilities.worker_parses
    assert details.startswith("haproxy (master process" if goes_on else "haproxy has ended")
    assert "No polling mechanism available" in details
    assert ("haproxy had ended and was started again" in details) != goes_on
    assert seconds < 15, "it was looked at until its time limit"
    assert (stored(agent), request_once(port)) == (good, None)
    assert (master_of(agent) == master) == goes_on
    assert agent.act(ONE, "reload").status == 202


def test_after_a_failed_start_nothing_runs_and_a_good_one_starts(agent, member, taken):
    port = free_port()
    good = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    assert agent.upload(ONE, good + hidden_frontend(taken)).status == 201
    details = refused(agent, "start")
    assert ALERT in details
    assert f"[127.0.0.1:{taken}]" in details
    assert "haproxy is stopped, as it was before" in details
    assert agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "STOPPED"
    with contextlib.closing(socket.create_server(("127.0.0.1", port))):
        "Nothing is left that holds the port."
    assert not (agent.base_path / ONE / f"{ONE}.pid").exists()
    started(agent, good)
    assert request_once(port) is None
