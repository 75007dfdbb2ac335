# SPDX-License-Identifier: Apache-2.0
"""haproxy in a network namespace of its own, as in a real amphora; the agent stays outside."""

import os
import subprocess

import pytest

from amphora.system.namespaces import call_inside
from amphora.testing.agent import AgentProcess
from amphora.testing.member import Member
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import request_once

ONE = listener_id(1)
VIPS = {"v4": "198.51.100.100", "v6": "2001:db8::100"}


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, timeout=10)


@pytest.fixture
def namespace():
    name = f"amp-test-{os.getpid()}"
    yield name
    subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True)


@pytest.fixture
def agent(memory_dir, namespace):
    agent = AgentProcess(memory_dir, {"network": {"namespace": namespace}})
    agent.start()
    yield agent
    agent.clean_up()


@pytest.fixture
def inside(agent, namespace):
    """A member in the namespace, which the agent has made by itself."""
    bad = agent.upload(ONE, b"frontend x\n    bind 127.0.0.1:1\n    BAD_LINE\n")
    assert bad.status == 400, bad.json
    member = call_inside(namespace, Member)
    yield member
    member.close()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_vip_may_arrive_after_the_listener(agent, namespace, inside, family):
    vip = VIPS[family]
    bind = f"{vip}:80" if family == "v4" else f"[{vip}]:80"
    assert agent.upload(ONE, configuration(ONE, [bind], inside.port)).status == 201
    started = agent.act(ONE, "start")
    assert started.status == 202, started.json
    assert call_inside(namespace, lambda: request_once(80, vip)) is not None
    ip("-n", namespace, "addr", "add", vip, "dev", "lo")
    assert call_inside(namespace, lambda: request_once(80, vip)) is None
    assert request_once(80, vip, timeout=0.5) is not None, "nothing listens outside"
    assert agent.call("GET", "/v0.1/listeners").json[0]["status"] == "ACTIVE"


def test_what_is_taken_outside_is_free_inside_and_the_other_way_round(agent, namespace, inside):
    taken = configuration(ONE, [f"127.0.0.1:{inside.port}"], inside.port)
    assert agent.upload(ONE, taken).status == 201
    assert "in use by" in agent.act(ONE, "start").json["details"]
    free = configuration(ONE, [f"127.0.0.1:{agent.port}"], inside.port)
    assert agent.upload(ONE, free).status == 201
    assert agent.act(ONE, "start").status == 202


def test_a_reload_inside_is_proven(agent, namespace, inside):
    agent.upload(ONE, configuration(ONE, ["127.0.0.1:80"], inside.port))
    agent.act(ONE, "start")
    agent.upload(ONE, configuration(ONE, ["127.0.0.1:80", "127.0.0.1:81"], inside.port))
    assert agent.act(ONE, "reload").status == 202
    assert call_inside(namespace, lambda: request_once(81)) is None
