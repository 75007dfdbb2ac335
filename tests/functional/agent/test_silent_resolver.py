# SPDX-License-Identifier: Apache-2.0
"""keepalived where the machine's own name is in no file, and the name server of tenants never answers."""

import sys
import time
from pathlib import Path

import pytest

from amphora.testing.agent import AgentProcess
from amphora.testing.agent_client import AMPHORA_ID
from tests.support.lvs import EMPTY, LISTENER
from tests.support.silent_resolver import SilentResolver
from tests.support.vrrp_pair import FAMILIES, Network, configuration

#: keepalived says by mail what becomes of it, and greets the mail server by its own name.
MAIL = b"""
global_defs {
    smtp_server 127.0.0.1
    notification_email {
        somebody@example.com
    }
}
"""


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def resolver(network, short_dir):
    resolver = SilentResolver(network.nodes[0].namespace, short_dir)
    yield resolver
    resolver.close()


@pytest.fixture
def agent(memory_dir, network, resolver):
    command = resolver.command(str(Path(sys.executable).with_name("amphora-agent")))
    agent = AgentProcess(memory_dir, {"network": {"namespace": network.nodes[0].namespace}}, command)
    agent.start()
    yield agent
    agent.call("PUT", "/v0.1/vrrp/stop")
    agent.call("DELETE", f"/1.0/listeners/{LISTENER}")
    agent.clean_up()


def change(agent, resolver, method, path, body=b""):
    """Make a change; return the seconds, or fail where it went to the name server."""
    began = time.monotonic()
    answer = agent.call(method, path, body)
    taken = time.monotonic() - began
    assert answer.status in (200, 202), answer.json
    assert resolver.questions() == []
    return taken


@pytest.mark.parametrize("version", ["v0.1", "1.0"])
@pytest.mark.parametrize("more", [b"", MAIL], ids=["plain", "mail"])
def test_no_change_of_keepalived_asks_a_name_server(agent, resolver, report, version, more):
    assert resolver.is_asked_for_the_own_name()
    vrrp = f"/{version}/vrrp"
    for action in ("start", "reload"):
        body = configuration(FAMILIES["dual"], 100) + more
        upload = change(agent, resolver, "PUT", f"{vrrp}/upload", body)
        seconds = change(agent, resolver, "PUT", f"{vrrp}/{action}")
        report(f"silent name server, {version}: vrrp/upload {upload:.2f} s, {action} {seconds:.2f} s")


def test_no_change_of_a_udp_listener_asks_a_name_server(agent, resolver, report):
    assert resolver.is_asked_for_the_own_name()
    upload = change(agent, resolver, "PUT", f"/1.0/listeners/{AMPHORA_ID}/{LISTENER}/udp_listener", EMPTY)
    for action in ("start", "reload"):
        seconds = change(agent, resolver, "PUT", f"/1.0/loadbalancer/{LISTENER}/{action}")
        report(f"silent name server: udp_listener upload {upload:.2f} s, {action} {seconds:.2f} s")
