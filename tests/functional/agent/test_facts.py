# SPDX-License-Identifier: Apache-2.0
"""What haproxy does after a reload that failed, against a real agent that keeps it from mattering."""

import os
import shutil
import signal
import socket
import threading

import pytest

from amphora.system.command import SEARCH_PATH
from amphora.testing.agent import free_port
from amphora.testing.network_bench import wait_until
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import request_once

ONE = listener_id(1)

#: A haproxy whose first reload waits, between our look at the binds and its own attempt to bind them.
#: It keeps its name, so that each reload runs it again.
WAITING = """#!/bin/bash
if [ "$HAPROXY_MWORKER_REEXEC" ] && mv "{directory}/armed" "{directory}/reloading" 2>/dev/null; then
    for _ in $(seq 200); do [ -e "{directory}/go" ] && break; sleep 0.05; done
fi
exec -a "$0" {haproxy} "$@"
"""


@pytest.fixture
def agent(stopped_agent):
    """An agent over such a haproxy."""
    wrapper = stopped_agent.directory / "haproxy"
    haproxy = shutil.which("haproxy", path=SEARCH_PATH)
    wrapper.write_text(WAITING.format(directory=stopped_agent.directory, haproxy=haproxy))
    wrapper.chmod(0o755)
    stopped_agent.configure({"haproxy_amphora": {"haproxy_cmd": wrapper}})
    stopped_agent.start()
    return stopped_agent


@pytest.fixture
def serving(agent, member):
    port = free_port()
    assert agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}"], member.port)).status == 201
    assert agent.act(ONE, "start").status == 202
    return port


def master_pid(agent):
    """The pid, or None while a haproxy that starts has not written it yet."""
    try:
        return int((agent.base_path / ONE / f"{ONE}.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None


def status(agent):
    return agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"]


def reload_into(agent, port):
    """Reload while somebody takes the port just before haproxy would; return the answer and who has it."""
    answers = []
    (agent.directory / "armed").touch()
    request = threading.Thread(target=lambda: answers.append(agent.act(ONE, "reload")))
    request.start()
    try:
        wait_until((agent.directory / "reloading").exists, "haproxy reloads", 20)
        taken = socket.create_server(("127.0.0.1", port))
    finally:
        (agent.directory / "go").touch()
        request.join()
    return answers[0], taken


def test_a_master_that_dies_after_a_failed_reload_comes_back_with_what_was_proven(agent, serving, member):
    proven = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    other = free_port()
    broken = configuration(ONE, [f"127.0.0.1:{serving}", f"127.0.0.1:{other}"], member.port)
    assert agent.upload(ONE, broken).status == 201
    answer, taken = reload_into(agent, other)
    with taken:
        assert (answer.status, answer.json["message"]) == (500, "Error reloading haproxy")
        assert "No process was touched" not in answer.json["details"], "it was found before"
        assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == proven
        directory = agent.base_path / ONE
        on_disk = [directory / name for name in ("haproxy.cfg", "running.cfg", "proven.cfg")]
        assert [path.read_bytes() for path in on_disk] == [proven] * 3
        assert request_once(serving) is None
        pid = master_pid(agent)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: master_pid(agent) not in (None, pid), "it is started again", 20)
        wait_until(lambda: request_once(serving) is None, "it serves again", 20)
        wait_until(lambda: status(agent) == "ACTIVE", "it is told so", 20)
