# SPDX-License-Identifier: Apache-2.0
"""Member ports without fixed addresses: a DHCP client in the data namespace, and router advertisements."""

import shutil
import socket
from pathlib import Path

import pytest

from amphora.drivers.network.dhcp import DhcpClient
from amphora.drivers.network.dhcp.clients import CLIENTS, Places
from amphora.drivers.network.dhcp.script import DHCP_SCRIPT
from amphora.models import InterfaceConfig
from amphora.system.command import SEARCH_PATH
from amphora.system.namespaces import is_inside
from amphora.system.processes import command_line, parent_of, process_ids
from amphora.testing.network_bench import wait_until
from tests.support.dhcp_server import ADDRESS, MTU, SERVER, dhcp_server

INSTALLED = [client for client in CLIENTS if shutil.which(client.program, path=SEARCH_PATH)]
STEERED = [Path("/etc", name) for name in ("resolv.conf", "hostname", "hosts", "ntp.conf", "chrony")]


def machine():
    """Return what of this machine a DHCP server would like to change, the network of its own included."""
    routes = Path("/proc/net/route").read_text()
    files = {path: path.read_bytes() for path in STEERED if path.is_file()}
    return socket.gethostname(), routes, files, sorted(Path("/run").glob("systemd/timesyncd.conf.d/*"))


class Rig:
    """A bench whose driver has one client to choose from.

    :ivar config: of a port that asks for addresses; :ivar places: where the client's files are.
    """

    def __init__(self, bench, client, places):
        self.bench, self.client, self.places = bench, client, places
        self.driver = bench.driver
        self.config = InterfaceConfig("eth2", bench.plug(), automatic=True)
        bench.ip("-n", bench.wire, "addr", "add", f"{SERVER}/24", "dev", bench.peer_of())

    def restart_agent(self):
        self.driver._dhcp = DhcpClient(self.bench.runner, self.bench.data, self.places, [self.client])

    def processes(self):
        """Return the ids of clients in this namespace, without those that one of them has forked."""
        inside = [pid for pid in process_ids() if is_inside(pid, self.bench.data)]
        found = [pid for pid in inside if self.client.program in " ".join(command_line(pid))]
        return [pid for pid in found if parent_of(pid) not in found]

    def addresses(self):
        held = self.bench.interface("eth2").addresses
        return [str(address) for address in held if not address.is_link_local]

    def routes(self):
        return "\n".join(routes(self.bench))


@pytest.fixture(params=INSTALLED, ids=lambda client: client.program)
def rig(bench, request, tmp_path):
    places = Places(run=tmp_path, dhclient=tmp_path / "dhclient", udhcpc=tmp_path / "udhcpc")
    rig = Rig(bench, request.param, places)
    rig.restart_agent()
    yield rig
    rig.driver._dhcp.stop("eth2")


def test_a_client_is_installed_here():
    assert INSTALLED


def test_one_client_runs_until_the_interface_is_given_back(rig):
    rig.driver.activate(rig.config)
    first = rig.processes()
    rig.restart_agent()
    rig.driver.activate(rig.config)
    assert rig.processes() == first
    assert len(first) == 1
    bench = rig.bench
    sysctl = ("netns", "exec", bench.data, "sysctl", "-n", "net.ipv6.conf.eth2.accept_ra")
    assert bench.ip(*sysctl).strip() == "2"
    rig.driver.deactivate("eth2")
    wait_until(lambda: rig.processes() == [], "the client has ended")


def test_a_lease_is_taken_and_nothing_that_steers_the_machine(rig):
    before = machine()
    with dhcp_server(rig.bench.wire, rig.bench.peer_of()):
        rig.driver.activate(rig.config)
        wait_until(lambda: rig.addresses() == [f"{ADDRESS}/24"], "the lease is in force", 20)
        wait_until(lambda: "203.0.113.0/24 via 198.51.100.7" in rig.routes(), "the route is there")
    assert machine() == before
    assert "default" not in rig.routes()
    assert "0.0.0.0" not in rig.routes()
    assert "mtu" in rig.routes() or rig.bench.links(rig.bench.data)[0]["mtu"] == MTU
    assert rig.driver._mover.differences(rig.config) == []


def test_a_configured_mtu_stays(rig):
    config = InterfaceConfig("eth2", rig.config.mac_address, automatic=True, mtu=1450)
    with dhcp_server(rig.bench.wire, rig.bench.peer_of()):
        rig.driver.activate(config)
        wait_until(lambda: "203.0.113.0/24" in rig.routes(), "the lease is in force", 20)
    assert rig.bench.links(rig.bench.data)[0]["mtu"] == 1450
    assert "mtu" not in rig.routes()


def test_an_interface_that_gets_fixed_addresses_needs_no_client(rig):
    with dhcp_server(rig.bench.wire, rig.bench.peer_of()):
        rig.driver.activate(rig.config)
        wait_until(rig.addresses, "the lease is in force", 20)
    rig.driver.activate(InterfaceConfig("eth2", rig.config.mac_address))
    wait_until(lambda: rig.processes() == [], "the client has ended")
    wait_until(lambda: rig.addresses() == [], "the lease is off the interface")


@pytest.fixture(params=["dhclient", "udhcpc"])
def lease(bench, request, tmp_path):
    """Hand a lease to the script in the words of one client: seconds, and the way to 203.0.113.0/24."""
    bench.driver.activate(InterfaceConfig("eth2", bench.plug()))
    script = tmp_path / "script"
    script.write_text(DHCP_SCRIPT)

    def hand_over(seconds, gateway):
        octets = gateway.replace(".", " ")
        words = {
            "dhclient": ("reason", "RENEW", "new_ip_address", ADDRESS, "new_subnet_mask", "255.255.255.0")
            + ("new_dhcp_lease_time", seconds)
            + ("new_rfc3442_classless_static_routes", f"32 192 0 2 7 {octets} 0 {octets} 9 10 128 {octets}"),
            "udhcpc": ("ip", ADDRESS, "mask", "24", "lease", seconds)
            + ("staticroutes", f"192.0.2.7/32 {gateway} 0.0.0.0/0 {gateway} 10.128.0.0/9 {gateway}"),
        }[request.param]
        environment = {"interface": "eth2"} | dict(zip(words[::2], words[1::2], strict=True))
        done = bench.runner.run(
            ("sh", str(script), "bound"), timeout=10, namespace=bench.data, environment=environment
        )
        assert (done.status, done.output) == (0, "")
        return sorted(line.split(" proto ")[0] for line in routes(bench) if " proto dhcp" in line)

    return hand_over


def routes(bench):
    return bench.ip("-n", bench.data, "-4", "route", "show", "table", "main").splitlines()


def test_routes_are_those_of_the_newest_lease(bench, lease):
    for gateway in ("198.51.100.7", "198.51.100.8"):
        assert lease("600", gateway) == [
            f"10.128.0.0/9 via {gateway} dev eth2",
            f"192.0.2.7 via {gateway} dev eth2",
        ]
    assert lease("600", "0.0.0.0") == ["10.128.0.0/9 dev eth2", "192.0.2.7 dev eth2"]
    assert [line for line in routes(bench) if line.startswith("default")] == []


def test_an_endless_lease_is_not_taken_for_a_configured_address(bench, lease):
    lease("4294967295", "198.51.100.7")
    address = next(
        each for link in bench.links(bench.data) for each in link["addr_info"] if "dynamic" in each
    )
    assert address["local"] == ADDRESS


def test_without_a_client_the_interface_is_up_all_the_same(bench, monkeypatch, caplog):
    monkeypatch.setattr("amphora.drivers.network.dhcp.SEARCH_PATH", "/nonexistent")
    bench.driver.activate(InterfaceConfig("eth2", bench.plug(), automatic=True))
    assert bench.interface("eth2").up
    assert "none of dhclient, dhcpcd, udhcpc is installed" in caplog.text
