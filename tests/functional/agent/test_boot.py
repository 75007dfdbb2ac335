# SPDX-License-Identifier: Apache-2.0
"""Ports plugged by MAC address, and an amphora that comes back from a reboot with no controller."""

import contextlib
import difflib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from amphora.system.namespaces import call_inside
from amphora.testing.agent import AgentProcess
from amphora.testing.member import Member
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import request_once
from tests.support.turns import Turn
from tests.support.vrrp_pair import eventually

ONE = listener_id(1)
MAC = {"vip": "fa:16:3e:00:aa:01", "member": "fa:16:3e:00:aa:02"}
FAMILIES = {
    "v4": [("198.51.100.100", "198.51.100.0/24", "198.51.100.1")],
    "v6": [("2001:db8::100", "2001:db8::/64", "2001:db8::1")],
}
FAMILIES["dual"] = FAMILIES["v4"] + FAMILIES["v6"]
DRIVERS = ["pyroute2", "ifupdown"]


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True, text=True).stdout


class Hypervisor:
    """Attaches links to this machine's own namespace, and a client behind them."""

    def __init__(self):
        self._turn = Turn("links")
        self.data = f"amp-boot-{os.getpid()}"
        self.client = f"{self.data}-c"
        self._links = 0
        ip("netns", "add", self.client)
        ip("-n", self.client, "link", "set", "lo", "up")

    def attach(self, kind, addresses):
        """Plug a link whose name nobody could have foretold."""
        self._links += 1
        name, peer = f"ampb{os.getpid() % 10000}{self._links}", f"c-{kind}"
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("-n", self.client, "link", "del", peer)
        ip(
            "link",
            "add",
            name,
            "address",
            MAC[kind],
            "type",
            "veth",
            "peer",
            "name",
            peer,
            "netns",
            self.client,
        )
        ip("-n", self.client, "link", "set", peer, "up")
        for address in addresses:
            ip("-n", self.client, "addr", "add", address, "dev", peer, *(["nodad"] if ":" in address else []))

    def lose_power(self, agent):
        """End the agent and all it runs, and give every link a new name where links are after a boot."""
        agent.kill()
        for path in agent.base_path.rglob("*.pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text().split()[0]), signal.SIGKILL)
        ip("netns", "del", self.data)

    def routing(self):
        """What the kernel has, without what differs from boot to boot."""
        told = []
        for family in ("-4", "-6"):
            for what in (("route", "show", "table", "all"), ("rule",), ("addr",)):
                told.append(json.loads(ip("-n", self.data, family, "-j", *what)))
        return [_stable(each) for each in told]

    def close(self):
        for name in (self.data, self.client):
            subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True)
        shutil.rmtree(Path("/run/amphora-ifupdown") / self.data, ignore_errors=True)
        self._turn.close()


def _stable(thing):
    volatile = {"ifindex", "link", "link_index", "link_netnsid", "valid_life_time", "preferred_life_time"}
    if isinstance(thing, list):
        return sorted((_stable(each) for each in thing), key=json.dumps)
    if isinstance(thing, dict):
        return {key: _stable(value) for key, value in thing.items() if key not in volatile}
    return thing


@pytest.fixture
def hypervisor():
    hypervisor = Hypervisor()
    yield hypervisor
    hypervisor.close()


@pytest.fixture(params=DRIVERS)
def agent(request, memory_dir, hypervisor):
    agent = AgentProcess(
        memory_dir,
        {
            "network": {"namespace": hypervisor.data},
            "drivers": {"network": request.param},
            "amphora_agent": {"agent_server_network_dir": memory_dir / "interfaces"},
        },
    )
    agent.start()
    yield agent
    agent.clean_up()


def client_addresses(vips):
    return [f"{gateway}/{subnet.partition('/')[2]}" for _, subnet, gateway in vips]


def plug_vip(agent, vips):
    (address, subnet, gateway), *others = vips
    body = {
        "subnet_cidr": subnet, "gateway": gateway, "mac_address": MAC["vip"].upper(), "mtu": 1450,
        "additional_vips": [
            {"ip_address": vip, "subnet_cidr": cidr, "gateway": router, "host_routes": []}
            for vip, cidr, router in others
        ],
    }  # fmt: skip
    return agent.post(f"/v0.1/plug/vip/{address}", body)


def answered(hypervisor, vips):
    return all(
        call_inside(hypervisor.client, lambda vip=vip: request_once(80, vip, timeout=1)) is None
        for vip, _, _ in vips
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_an_amphora_comes_back_from_a_reboot_by_itself(agent, hypervisor, family):
    vips = FAMILIES[family]
    hypervisor.attach("vip", client_addresses(vips))
    plugged = plug_vip(agent, vips)
    assert (plugged.status, plugged.json["details"]) == (202, f"VIP {vips[0][0]} plugged on interface eth1")
    hypervisor.attach("member", ["10.9.0.1/24"])
    fixed = [{"ip_address": "10.9.0.5", "subnet_cidr": "10.9.0.0/24"}]
    member_port = agent.post("/v0.1/plug/network/", {"mac_address": MAC["member"], "fixed_ips": fixed})
    assert (member_port.status, member_port.json["details"]) == (202, "Plugged interface eth2")
    for vip, _, _ in vips:
        assert agent.call("GET", f"/v0.1/interface/{vip}").json == {"message": "OK", "interface": "eth1"}
    member = call_inside(hypervisor.client, lambda: Member(address="10.9.0.1"))
    try:
        binds = [f"{vip}:80" if "." in vip else f"[{vip}]:80" for vip, _, _ in vips]
        body = configuration(ONE, binds, member.port).replace(b"127.0.0.1:", b"10.9.0.1:")
        assert agent.upload(ONE, body).status == 201
        assert agent.act(ONE, "start").status == 202
        eventually(lambda: answered(hypervisor, vips), "clients are served", 5)
        eventually(lambda: "tentative" not in json.dumps(hypervisor.routing()), "addresses are settled", 5)
        before = hypervisor.routing()
        hypervisor.lose_power(agent)
        hypervisor.attach("vip", client_addresses(vips))
        hypervisor.attach("member", ["10.9.0.1/24"])
        began = time.monotonic()
        agent.start()
        eventually(lambda: answered(hypervisor, vips), "clients are served again", 10)
        print(f"{family}: served again {time.monotonic() - began:.2f} s after the agent was started")
        wait_for_equality(hypervisor.routing, before)
        steps = agent.call("GET", "/v0.1/details").json["recovery"]
        assert [step["problem"] for step in steps] == [""] * len(steps)
        names = [step["step"] for step in steps]
        assert names.index("interfaces") < names.index("services") < names.index("instances")
    finally:
        member.close()


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_a_node_of_a_pair_comes_back_with_its_topology(agent, hypervisor, family):
    vips = FAMILIES[family]
    ((vip, subnet, gateway),) = vips
    own = {"v4": "198.51.100.11", "v6": "2001:db8::11"}[family]
    hypervisor.attach("vip", client_addresses(vips))
    body = {"subnet_cidr": subnet, "gateway": gateway, "mac_address": MAC["vip"], "vrrp_ip": own}
    assert agent.post(f"/v0.1/plug/vip/{vip}", body).status == 202
    member = call_inside(hypervisor.data, Member)
    pair = {"topology": "ACTIVE-STANDBY", "role": "ACTIVE", "ha_ip": vip, "secret": "b20e06cf1abcf29c"}
    try:
        bind = f"{vip}:80" if family == "v4" else f"[{vip}]:80"
        assert agent.upload(ONE, configuration(ONE, [bind], member.port)).status == 201
        assert agent.act(ONE, "start").status == 202
        assert agent.post("/v0.1/topology", pair).status == 202
        eventually(lambda: agent.call("GET", "/v0.1/topology").json["role"] == "ACTIVE", "it is active", 20)
    finally:
        member.close()
    hypervisor.lose_power(agent)
    hypervisor.attach("vip", client_addresses(vips))
    agent.start()
    told = agent.call("GET", "/v0.1/topology").json
    assert (told["topology"], told["ha_ip"]) == ("ACTIVE-STANDBY", vip)
    eventually(lambda: agent.call("GET", "/v0.1/topology").json["role"] == "ACTIVE", "it is active again", 20)
    assert agent.call("GET", f"/v0.1/interface/{vip}").json["interface"] == "eth1"
    # Its member is gone, but the listener on the shared address answers for it.
    eventually(
        lambda: call_inside(hypervisor.client, lambda: request_once(80, vip)) == "status 503",
        "it answers",
        10,
    )
    assert agent.call("PUT", "/v0.1/vrrp/stop").status == 202


def wait_for_equality(question, wanted, seconds=5):
    deadline = time.monotonic() + seconds
    while (found := question()) != wanted:
        assert time.monotonic() < deadline, "\n".join(
            difflib.unified_diff(_lines(wanted), _lines(found), "before", "after", lineterm="", n=0)
        )
        time.sleep(0.1)


def _lines(thing):
    return json.dumps(thing, indent=1).splitlines()


def test_a_port_that_comes_late_is_waited_for(agent, hypervisor):
    import threading

    late = threading.Timer(0.7, hypervisor.attach, ("vip", client_addresses(FAMILIES["v4"])))
    late.start()
    answer = plug_vip(agent, FAMILIES["v4"])
    late.join()
    assert answer.status == 202, answer.json


def test_a_port_that_never_comes_is_worth_another_try(agent):
    answer = plug_vip(agent, FAMILIES["v4"])
    assert answer.status == 404
    assert "No suitable network interface found" in answer.json["details"]
