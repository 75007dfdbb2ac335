# SPDX-License-Identifier: Apache-2.0
"""An agent that finds the interfaces, rules and PROMETHEUS listeners of an amphora already set up."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from amphora.testing.agent import AgentProcess
from amphora.testing.network_bench import wait_until
from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    MAC,
    MEMBER_PORT,
    OTHER_MAC,
    VIP,
    backend,
    frontend,
    global_section,
    internal_metrics,
)

ROOT = Path(__file__).resolve().parents[2]
OCTAVIA = ROOT / "unit/drivers/network/octavia"
RULES = ROOT / "unit/core/network/golden/every-kind.nft"


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True, text=True).stdout


class Amphora:
    """A data namespace with two links in it, as Octavia's agent leaves them, and its files."""

    def __init__(self, directory):
        self.data = f"amp-taken-{os.getpid()}"
        interfaces = directory / "interfaces"
        interfaces.mkdir()
        shutil.copy(OCTAVIA / "vip-single.json", interfaces / "eth1.json")
        shutil.copy(OCTAVIA / "member.json", interfaces / "eth2.json")
        shutil.copy(OCTAVIA / "lo.json", interfaces / "lo.json")
        (directory / "lb").mkdir()
        shutil.copy(RULES, directory / "lb/nftables-vip.rules")
        ip("netns", "add", self.data)
        for mac, name in ((MAC, "eth1"), (OTHER_MAC, "eth2")):
            peer = ("peer", "name", f"{name}-peer")
            ip("-n", self.data, "link", "add", name, "address", mac, "type", "veth", *peer)
            ip("-n", self.data, "link", "set", f"{name}-peer", "up")
        options = {
            "network": {"namespace": self.data},
            "drivers": {"process_manager": "standalone", "network": "pyroute2"},
            "amphora_agent": {"agent_server_network_dir": interfaces},
        }
        self.agent = AgentProcess(directory, options)

    def inside(self, *argv):
        done = subprocess.run(
            ["ip", "netns", "exec", self.data, *argv], timeout=20, capture_output=True, text=True, check=False
        )
        return done.stdout

    def clean_up(self):
        self.agent.clean_up()
        subprocess.run(["ip", "netns", "del", self.data], timeout=10, capture_output=True)


@pytest.fixture
def amphora(memory_dir):
    amphora = Amphora(memory_dir)
    try:
        amphora.agent.start()
        yield amphora
    finally:
        amphora.clean_up()


def test_interfaces_and_rules_are_taken_over(amphora):
    for address in ("203.0.113.4", "203.0.113.2", "2001:db8::4"):
        assert amphora.agent.call("GET", f"/1.0/interface/{address}").json["interface"] == "eth1"
    assert "10.0.0.5/24" in amphora.inside("ip", "addr", "show", "dev", "eth2")
    assert "tcp dport 443 accept" in amphora.inside("nft", "list", "ruleset")
    assert amphora.agent.post("/1.0/plug/vip/203.0.113.2", VIP).status == 409
    assert amphora.agent.post("/1.0/plug/network", MEMBER_PORT).status == 202
    rules = b'[{"protocol": "vrrp", "cidr": "2001:db8::5/128", "port": 112}]'
    path = "/1.0/interface/203.0.113.4/rules"
    assert amphora.agent.call("PUT", path, rules, Content_Type="application/json").status == 200
    listed = amphora.inside("nft", "list", "ruleset")
    assert "ip6 saddr 2001:db8::5 ip6 nexthdr vrrp accept" in listed
    assert "dport 443" not in listed


def test_metrics_are_served_while_a_load_balancer_has_a_listener_for_them(amphora):
    def upload(text):
        text = global_section(amphora.agent.base_path) + text
        path = f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy"
        assert amphora.agent.call("PUT", path, text.encode()).status == 202
        assert amphora.agent.call("PUT", f"/1.0/loadbalancer/{LOAD_BALANCER}/reload").status == 202

    plain = frontend(LISTENER, ["203.0.113.2:80"]) + backend(LISTENER, 9)
    upload(plain + internal_metrics())
    wait_until(lambda: ":9102" in amphora.inside("ss", "-ltn"), "metrics are served", 30)
    upload(plain)
    wait_until(lambda: ":9102" not in amphora.inside("ss", "-ltn"), "metrics are not served", 30)
