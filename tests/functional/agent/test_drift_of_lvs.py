# SPDX-License-Identifier: Apache-2.0
"""Drift of UDP listeners and of packet filters: a real agent, keepalived and nft."""

import os
import subprocess

import pytest

from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.testing.agent_client import AMPHORA_ID
from tests.support.drifting import OFTEN, DriftWatch, healing
from tests.support.lvs import EMPTY, LISTENER, with_members

UPLOAD = f"/1.0/listeners/{AMPHORA_ID}/{LISTENER}/udp_listener"
ACTION = f"/1.0/loadbalancer/{LISTENER}"
TABLE = ("inet", "amphora_table")


@pytest.fixture
def namespace():
    name = f"amp-lvs-drift-{os.getpid()}"
    yield name
    subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True)


@pytest.fixture
def start(stopped_agent, namespace):
    def start(options):
        stopped_agent.configure({"network": {"namespace": namespace}, **options})
        stopped_agent.start()
        return stopped_agent

    yield start
    stopped_agent.call("DELETE", f"/1.0/listeners/{LISTENER}")


def run_listener(agent):
    """Let a listener without a pool run; return where its files are."""
    assert agent.call("PUT", UPLOAD, EMPTY).status == 200
    assert agent.call("PUT", f"{ACTION}/start").status == 202
    DriftWatch(agent).clean()
    return LvsDirectory(agent.base_path).files(LISTENER)


def nft(namespace, *words):
    command = ["ip", "netns", "exec", namespace, "nft", *words]
    return subprocess.run(command, check=True, timeout=10, capture_output=True, text=True).stdout


def test_files_of_a_listener_that_were_changed_are_told(start):
    agent = start(OFTEN)
    layout, watch = run_listener(agent), DriftWatch(agent)
    other = with_members()
    layout.running.write_bytes(other)
    assert watch.told("running-edited")["object"] == LISTENER
    layout.running.write_bytes(EMPTY)
    layout.stored.write_bytes(other)
    assert watch.told("stored-edited")["object"] == LISTENER
    layout.stored.unlink()
    assert watch.told("stored-missing")["object"] == LISTENER
    assert agent.call("PUT", UPLOAD, EMPTY).status == 200
    watch.clean()


def test_the_configuration_of_a_listener_is_healed(start):
    agent = start(healing("configs"))
    layout, watch = run_listener(agent), DriftWatch(agent)
    main = layout.processes.main()
    layout.running.write_bytes(with_members())
    watch.told("running-edited")
    watch.healed("configs")
    assert layout.running.read_bytes() == EMPTY
    assert layout.processes.main() not in (None, main)


def test_changes_of_a_listener_are_told_as_operations(start):
    agent = start({})
    run_listener(agent)
    assert agent.call("PUT", f"{ACTION}/stop").status == 202
    told = agent.call("GET", "/extensions/operations").json["operations"]
    found = [(each["kind"], each["state"]) for each in told if each["target"] == LISTENER]
    assert found == [("upload", "done"), ("start", "done"), ("stop", "done")]
    assert agent.call("DELETE", f"/1.0/listeners/{LISTENER}").status == 200
    told = agent.call("GET", "/extensions/operations").json["operations"]
    assert [each["kind"] for each in told if each["target"] == LISTENER][-1] == "delete"


def test_a_packet_filter_that_was_changed_is_told_and_healed(start, namespace):
    agent = start(healing("interfaces"))
    watch = DriftWatch(agent)
    subprocess.run(["ip", "-n", namespace, "addr", "add", "198.51.100.11/32", "dev", "lo"], check=True)
    path = "/1.0/interface/198.51.100.11/rules"
    body = b'[{"protocol": "TCP", "cidr": null, "port": 80}]'
    assert agent.call("PUT", path, body, Content_Type="application/json").status == 200
    listed = nft(namespace, "list", "table", *TABLE)
    assert agent.call("GET", "/extensions/operations").json["operations"][-1]["target"] == "packet-filter"
    watch.clean()
    nft(namespace, "flush", "table", *TABLE)
    assert watch.told("filter-differs")["area"] == "packet-filter"
    watch.healed("interfaces")
    assert nft(namespace, "list", "table", *TABLE) == listed
    nft(namespace, "delete", "table", *TABLE)
    watch.told("filter-missing")
