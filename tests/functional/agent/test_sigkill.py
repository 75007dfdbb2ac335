# SPDX-License-Identifier: Apache-2.0
"""SIGKILL between any two steps: at each, or at each fifth, thing the agent is about to do to the system."""

import contextlib
import http.client
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from amphora.testing.agent import AgentProcess, free_port
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import Load, request_once

ONE = listener_id(1)
SCRIPT = Path(__file__).parents[2] / "support" / "dying_agent.py"
SETTLED = {"agent.cfg", "haproxy.cfg", "proven.cfg", "running.cfg", "agent.sock", "master.sock", f"{ONE}.pid"}
SETTLED |= {"local-peer", "servers-state"}


class Victim(AgentProcess):
    """An agent that can be told to die at the n-th event."""

    def __init__(self, directory, monkeypatch):
        self._armed = directory / "armed"
        monkeypatch.setenv("AMPHORA_TEST_ARMED", str(self._armed))
        super().__init__(directory, command=[sys.executable, str(SCRIPT)])

    def arm(self, number):
        new = self._armed.with_name("arming")
        new.touch()
        os.truncate(new, number)
        new.rename(self._armed)

    def disarm(self):
        self._armed.unlink()


@pytest.fixture
def victim(memory_dir, monkeypatch):
    victim = Victim(memory_dir, monkeypatch)
    victim.start()
    yield victim
    victim._armed.unlink(missing_ok=True)
    victim.clean_up()


def dies_at(victim, number, operation):
    """Run an operation that is killed at its n-th event; return False if it ended before that."""
    victim.arm(number)
    survived = False
    with contextlib.suppress(OSError, http.client.HTTPException):
        survived = operation().status < 300
    if not survived:
        assert victim.wait(30) == -9
    victim.disarm()
    return not survived


def check_after_restart(victim, versions, pid):
    victim.start()
    stored = victim.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    assert stored in versions, "a stored configuration is always a complete one"
    assert {path.name for path in (victim.base_path / ONE).iterdir()} <= SETTLED, "no temporary files"
    beside = {ONE, "services", "operations", "interfaces.lock"}
    assert {path.name for path in victim.base_path.iterdir()} <= beside
    assert int((victim.base_path / ONE / f"{ONE}.pid").read_text().split()[0]) == pid
    assert victim.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "ACTIVE"


@pytest.mark.parametrize("stride", [pytest.param(1, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("action", ["upload", "reload"])
def test_a_kill_at_any_event_loses_nothing(victim, member, action, stride):
    port = free_port()
    versions = [
        configuration(ONE, [f"127.0.0.1:{port}"], member.port, comment=f"version {number}")
        for number in (0, 1)
    ]
    operations = {
        "upload": lambda version: victim.upload(ONE, versions[version]),
        "reload": lambda _version: victim.act(ONE, "reload"),
    }
    victim.upload(ONE, versions[0])
    assert victim.act(ONE, "start").status == 202
    pid = int((victim.base_path / ONE / f"{ONE}.pid").read_text().split()[0])
    number = 0
    with Load(port, clients=2) as load:
        killed = True
        while killed:
            number += stride
            assert victim.upload(ONE, versions[number % 2]).status == 201
            if action == "upload":
                assert victim.act(ONE, "reload").status == 202
            killed = dies_at(victim, number, partial(operations[action], (number + 1) % 2))
            if killed:
                check_after_restart(victim, versions, pid)
                load.wait_for(5)
    print(f"{action}: killed at events up to {number - 1}; {load.good} requests answered meanwhile")
    assert number > 10
    assert load.failures == []
    assert request_once(port) is None
    assert victim.act(ONE, "reload").status == 202
