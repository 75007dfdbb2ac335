# SPDX-License-Identifier: Apache-2.0
"""Two agents, each with real keepalived and haproxy in a namespace of its own, on one bridge."""

import os
import signal
import time
from pathlib import Path

import pytest

from amphora.system.namespaces import call_inside
from amphora.testing.agent import AgentProcess
from amphora.testing.member import Member
from tests.support import listeners
from tests.support.traffic import request_once
from tests.support.vrrp_pair import FAMILIES, Network, Sampler, configuration, eventually, without_prefix

ONE = listeners.listener_id(1)
ROUNDS = 50

pytestmark = pytest.mark.alone


class PairedAgent(AgentProcess):
    """An agent whose tenant traffic is in one of the bridge's places."""

    def __init__(self, directory, place):
        directory.mkdir()
        self.place = place
        self.namespace = place.namespace
        super().__init__(directory, {"network": {"namespace": place.namespace}})

    def role(self):
        return self.call("GET", "/v0.1/topology").json["role"]

    def pair(self, role, ha_ip):
        body = {"topology": "ACTIVE-STANDBY", "role": role, "ha_ip": ha_ip, "secret": "b20e06cf1abcf29c708d"}
        answer = self.post("/v0.1/topology", body)
        assert answer.status == 202, answer.json
        eventually(
            lambda: self.call("GET", "/v0.1/details").json["topology_status"] == "OK", "the change ends", 20
        )
        assert self.call("GET", "/v0.1/topology").json["topology"] == "ACTIVE-STANDBY", self.log_tail()

    def serve(self, vips):
        self.member = call_inside(self.namespace, lambda: Member(self.namespace))
        binds = [f"{vip}:80" if "." in vip else f"[{vip}]:80" for vip in vips]
        body = listeners.configuration(ONE, binds, self.member.port)
        assert self.upload(ONE, body).status == 201
        assert self.act(ONE, "start").status == 202

    def holds(self, vips):
        from amphora.system.addresses import addresses_in

        return {without_prefix(each) for each in addresses_in(self.namespace)} & set(vips)

    def kill_keepalived(self):
        """End parent and child at once; neither takes its address away any more."""
        pids = [int(path.read_text()) for path in (self.base_path / "vrrp").glob("*.pid")]
        assert len(pids) >= 2, "there is no keepalived to kill"
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)

    def clean_up(self):
        if not self.is_running():
            self.start()
        self.call("PUT", "/v0.1/vrrp/stop")
        super().clean_up()
        self.member.close()


@pytest.fixture
def network():
    with Network() as network:
        yield network


@pytest.fixture
def agents(memory_dir, network):
    agents = [PairedAgent(Path(memory_dir) / str(n), place) for n, place in enumerate(network.nodes)]
    for agent in agents:
        agent.start()
    yield agents
    for agent in agents:
        agent.clean_up()


def answered(network, vips):
    return all(
        call_inside(network.client.namespace, lambda vip=vip: request_once(80, vip, 0.3)) is None
        for vip in vips
    )


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_topology_change_forms_a_pair_that_survives_its_master(network, agents, family):
    vips = FAMILIES[family]
    for agent, role in zip(agents, ("ACTIVE", "STANDBY"), strict=True):
        agent.serve(vips)
        agent.pair(role, vips[0])
    master, standby = agents
    eventually(
        lambda: (master.role(), standby.role()) == ("ACTIVE", "STANDBY"), "the roles are as asked for", 15
    )
    eventually(lambda: answered(network, vips), "clients are served", 5)
    with Sampler(agents, vips) as sampler:
        master.kill_keepalived()
        taken = eventually(lambda: standby.holds(vips) and answered(network, vips), "traffic is back", 10)
    print(f"{family}: traffic back after {taken:.2f} s")
    assert taken <= 4 * 1.0 + 1.0
    assert sampler.doubles == []
    eventually(lambda: standby.role() == "ACTIVE" and master.role() == "STANDBY", "roles are true", 1.0)
    assert master.call("GET", "/v0.1/details").json["active"] is False
    assert standby.call("GET", "/v0.1/details").json["active"] is True


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_fifty_rounds_of_kill_and_restore_never_have_two_holders(network, agents, family):
    """Adverts are fast here, by a configuration of the controller's, which wins over the topology's."""
    vips, interval = FAMILIES[family], 0.1
    for agent, priority, role in zip(agents, (100, 90), ("ACTIVE", "STANDBY"), strict=True):
        agent.serve(vips)
        assert agent.call("PUT", "/v0.1/vrrp/upload", configuration(vips, priority, interval)).status == 200
        agent.pair(role, vips[0])
    slowest, slowest_role = 0.0, 0.0
    rounds = ROUNDS if family == "dual" else 5
    master, standby = agents
    eventually(
        lambda: (master.role(), standby.role()) == ("ACTIVE", "STANDBY"), "the roles are as asked for", 5
    )
    with Sampler(agents, vips) as sampler:
        for _ in range(rounds):
            eventually(lambda: answered(network, vips), "clients are served", 5)
            master.kill_keepalived()
            began = time.monotonic()
            slowest = max(
                slowest, eventually(lambda s=standby: s.holds(vips) == set(vips), "the peer takes over", 5)
            )
            eventually(lambda: answered(network, vips), "traffic is back", 5 - (time.monotonic() - began))
            roles = eventually(
                lambda m=master, s=standby: (m.role(), s.role()) == ("STANDBY", "ACTIVE"),
                "roles are true",
                1.0,
            )
            slowest_role = max(slowest_role, roles)
            # Its agent would do this too, but waits longer after each crash in a row.
            restored = master.call("PUT", "/v0.1/vrrp/start")
            assert restored.status == 202, restored.json
            master, standby = standby, master
    print(
        f"{family}: {rounds} rounds, slowest takeover {slowest:.2f} s, roles true after {slowest_role:.2f} s"
    )
    assert sampler.samples > rounds
    assert sampler.doubles == [], f"last kill at {began}; {master.log_tail()}; {standby.log_tail()}"
    assert slowest <= 4 * interval + 1.0
