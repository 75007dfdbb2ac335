# SPDX-License-Identifier: Apache-2.0
"""Member ports without fixed addresses: dhclient in the data namespace, and router advertisements."""

from pathlib import Path

import pytest

from amphora.drivers.network.dhcp import DhcpClient
from amphora.models import InterfaceConfig
from amphora.system.processes import command_line, process_ids
from amphora.testing.network_bench import wait_until


def clients(namespace):
    """Return the ids of this namespace's clients; those that ended and wait to be reaped do not count."""
    return [
        pid for pid in process_ids() if any(f"dhclient-{namespace}-" in word for word in command_line(pid))
    ]


@pytest.fixture
def config(bench):
    config = InterfaceConfig("eth2", bench.plug(), automatic=True)
    yield config
    DhcpClient(bench.runner, bench.data).stop("eth2")


def test_one_client_runs_until_the_interface_is_given_back(bench, config):
    resolver = Path("/etc/resolv.conf").read_bytes()
    for _ in range(2):
        bench.driver.activate(config)
        wait_until(lambda: len(clients(bench.data)) == 1, "one client runs")
    assert (
        bench.ip("netns", "exec", bench.data, "sysctl", "-n", "net.ipv6.conf.eth2.accept_ra").strip() == "2"
    )
    bench.driver.deactivate("eth2")
    wait_until(lambda: clients(bench.data) == [], "the client has ended")
    assert Path("/etc/resolv.conf").read_bytes() == resolver


def test_an_interface_that_gets_fixed_addresses_needs_no_client(bench, config):
    bench.driver.activate(config)
    wait_until(lambda: len(clients(bench.data)) == 1, "one client runs")
    bench.driver.activate(InterfaceConfig("eth2", config.mac_address))
    wait_until(lambda: clients(bench.data) == [], "the client has ended")


def test_without_a_client_the_interface_is_up_all_the_same(bench, config, monkeypatch, caplog):
    monkeypatch.setattr("amphora.drivers.network.dhcp.SEARCH_PATH", "/nonexistent")
    bench.driver.activate(config)
    assert bench.interface("eth2").up
    assert "dhclient is not installed" in caplog.text
    assert clients(bench.data) == []
