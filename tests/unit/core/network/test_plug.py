# SPDX-License-Identifier: Apache-2.0
import threading
from dataclasses import replace
from ipaddress import ip_address, ip_interface

import pytest

from amphora.core.changes.locks import INTERFACES, InstanceLocks
from amphora.core.network.plug import Plug
from amphora.core.network.plug_requests import parse_network_request, parse_vip_request
from amphora.errors import Busy, InterfaceConflict, NoSuchLink, OperationFailed, PlugFailed, StorageError
from amphora.models import InterfaceConfig
from amphora.testing.fake_network import FakeNetwork

ONE, OTHER = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"
PORT = {"subnet_cidr": "203.0.113.0/24", "gateway": "203.0.113.1", "mac_address": ONE.upper()}
PORT6 = {"subnet_cidr": "2001:db8::/64", "gateway": "2001:db8::1", "mac_address": ONE}
VIPS = {"v4": ("203.0.113.2", PORT), "v6": ("2001:DB8:0::2", PORT6)}
DUAL = PORT | {
    "additional_vips": [{"ip_address": "2001:db8::2", "subnet_cidr": "2001:db8::/64", "gateway": None}]
}
VIPS["dual"] = ("203.0.113.2", DUAL)


class Amphora:
    """Plug on a fake network, and what it told the neighbours."""

    def __init__(self, operations):
        self.network = FakeNetwork()
        self.locks = InstanceLocks(timeout=1.0)
        self.operations = operations
        self.single = True
        self.told = []
        self.plug = Plug(
            self.network,
            self.locks,
            operations,
            vip_is_ours=lambda: self.single,
            advertise=self.advertise,
        )
        self.network.wires.plug(ONE)
        self.network.wires.plug(OTHER)

    def advertise(self, address, interface, mac_address):
        self.told.append((str(address), interface, mac_address))

    def plug_vip(self, family="v4", **changes):
        vip, port = VIPS[family]
        return self.plug.plug_vip(parse_vip_request(vip, port | changes))

    def plug_network(self, mac=OTHER, **more):
        return self.plug.plug_network(parse_network_request({"mac_address": mac} | more))


@pytest.fixture
def amphora(operations):
    return Amphora(operations)


@pytest.mark.parametrize("family", VIPS)
def test_a_vip_gets_eth1_is_stored_and_told_to_neighbours(amphora, family):
    plugged = amphora.plug_vip(family)
    vips = [str(ip_address(VIPS[family][0]))] + (["2001:db8::2"] if family == "dual" else [])
    assert (plugged.name, plugged.mac_address) == ("eth1", ONE)
    assert [str(address.ip) for address in plugged.addresses] == vips
    assert not plugged.awaits_addresses
    assert amphora.network.wires.stored == amphora.network.wires.active
    assert amphora.told == [(vip, "eth1", ONE) for vip in vips]


@pytest.mark.parametrize("family", VIPS)
def test_the_same_plug_again_is_the_same(amphora, family):
    first = amphora.plug_vip(family)
    before = amphora.network.wires.active["eth1"]
    assert amphora.plug_vip(family) == replace(first, was_there=True)
    assert amphora.network.wires.active["eth1"] == before


@pytest.mark.parametrize("family", VIPS)
def test_in_a_pair_the_vip_is_left_to_keepalived(amphora, family):
    amphora.single = False
    plugged = amphora.plug_vip(family)
    assert plugged.addresses == ()
    assert plugged.awaits_addresses
    assert amphora.told == []
    assert amphora.network.wires.active["eth1"].floating != ()


@pytest.mark.parametrize("family", VIPS)
def test_the_vip_can_be_handed_over_and_back(amphora, family):
    amphora.plug_vip(family)
    single = amphora.network.wires.active["eth1"]
    amphora.told.clear()
    for _ in range(2):
        amphora.plug.hand_over_vip(True)
        assert amphora.network.wires.active["eth1"].addresses == ()
    assert amphora.told == []
    for _ in range(2):
        amphora.plug.hand_over_vip(False)
        assert set(amphora.network.wires.active["eth1"].addresses) == set(single.addresses)
    assert [address for address, _, _ in amphora.told] == [str(each.ip) for each in single.addresses]
    amphora.plug_vip(family)


def test_a_vip_that_cannot_be_stored_as_handed_back_is_held_all_the_same(amphora):
    amphora.plug_vip()
    amphora.plug.hand_over_vip(True)
    before = amphora.network.wires.stored["eth1"]
    amphora.told.clear()
    amphora.network.fail_next("persist", StorageError("full"))
    with pytest.raises(PlugFailed, match="full"):
        amphora.plug.hand_over_vip(False)
    assert amphora.network.wires.stored["eth1"] == before
    assert ip_interface("203.0.113.2/24") in amphora.network.wires.active["eth1"].addresses
    assert ("203.0.113.2", "eth1", ONE) in amphora.told
    amphora.plug.hand_over_vip(True)
    assert amphora.network.wires.active["eth1"] == before


def test_the_same_vip_is_no_conflict_after_a_hand_over(amphora):
    amphora.plug_vip(vrrp_ip="203.0.113.4")
    amphora.plug.hand_over_vip(True)
    amphora.single = False
    plugged = amphora.plug_vip(vrrp_ip="203.0.113.4")
    assert plugged.addresses == (ip_interface("203.0.113.4/24"),)


def test_another_vip_on_the_same_port_is_a_conflict(amphora):
    amphora.plug_vip()
    before = amphora.network.wires.stored["eth1"]
    with pytest.raises(InterfaceConflict):
        amphora.plug.plug_vip(parse_vip_request("203.0.113.3", PORT))
    assert amphora.network.wires.stored["eth1"] == before


def test_a_port_keeps_its_role(amphora):
    amphora.plug_vip()
    with pytest.raises(InterfaceConflict, match="in use as VIP"):
        amphora.plug_network(ONE)
    amphora.plug_network(OTHER)
    with pytest.raises(InterfaceConflict, match="in use as Port"):
        amphora.plug_vip(mac_address=OTHER)


def test_members_come_after_the_vip_whatever_the_order(amphora):
    assert amphora.plug_network(OTHER).name == "eth2"
    assert amphora.plug_vip().name == "eth1"
    amphora.network.wires.plug("fa:16:3e:00:00:03")
    assert amphora.plug_network("FA:16:3E:00:00:03").name == "eth3"


def test_a_member_port_without_addresses_asks_the_network(amphora):
    assert amphora.plug_network().awaits_addresses
    assert amphora.network.wires.active["eth2"].automatic


def test_a_member_port_may_get_new_addresses(amphora):
    amphora.plug_network()
    fixed = {"ip_address": "10.0.0.5", "subnet_cidr": "10.0.0.0/24"}
    plugged = amphora.plug_network(fixed_ips=[fixed], mtu=1450)
    assert (plugged.name, plugged.addresses) == ("eth2", (ip_interface("10.0.0.5/24"),))
    assert amphora.network.wires.stored["eth2"].mtu == 1450


def test_a_missing_port_leaves_nothing_stored(amphora):
    with pytest.raises(NoSuchLink, match="No suitable network interface found"):
        amphora.plug_vip(mac_address="fa:16:3e:00:00:99")
    assert amphora.network.wires.stored == {}


@pytest.mark.parametrize(
    ("method", "error"), [("activate", OperationFailed("boom")), ("persist", StorageError("boom"))]
)
def test_a_failed_plug_says_what_failed_and_leaves_nothing(amphora, method, error):
    amphora.network.fail_next(method, error)
    with pytest.raises(PlugFailed, match="boom") as raised:
        amphora.plug_vip()
    assert raised.value.what == "VIP"
    assert amphora.network.wires.stored == amphora.network.wires.active == {}
    assert amphora.told == []


def test_a_failed_change_keeps_what_was_stored(amphora):
    amphora.plug_network()
    before = amphora.network.wires.stored["eth2"]
    amphora.network.fail_next("activate", OperationFailed("boom"))
    with pytest.raises(PlugFailed) as raised:
        amphora.plug_network(mtu=1400)
    assert raised.value.what == "Port"
    assert amphora.network.wires.stored["eth2"] == before


def test_a_plug_cut_off_by_a_crash_is_completed_by_the_next(amphora):
    stale = InterfaceConfig("eth7", ONE)
    amphora.network.wires.stored["eth7"] = stale
    assert amphora.plug_vip().name == "eth7"
    assert list(amphora.network.wires.stored) == ["eth7"]


def test_an_interface_that_somebody_else_gave_addresses_is_not_taken(amphora):
    amphora.network.wires.active["eth5"] = InterfaceConfig(
        "eth5", ONE, addresses=(ip_interface("192.0.2.10/24"),)
    )
    with pytest.raises(InterfaceConflict, match="did not give it"):
        amphora.plug_vip()


def test_neighbours_that_cannot_be_told_do_not_fail_a_plug(amphora, caplog):
    def refuse(address, interface, mac_address):
        raise OperationFailed("network is down")

    plug = Plug(
        amphora.network, amphora.locks, amphora.operations, vip_is_ours=lambda: True, advertise=refuse
    )
    assert plug.plug_vip(parse_vip_request(*VIPS["v4"])).name == "eth1"
    assert "network is down" in caplog.text


def test_plugs_take_turns(amphora):
    with amphora.locks.hold(INTERFACES), pytest.raises(Busy):
        amphora.plug_vip()
    threads = [threading.Thread(target=amphora.plug_network, args=(mac,)) for mac in (ONE, OTHER)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(amphora.network.wires.active) == ["eth2", "eth3"]


@pytest.mark.parametrize("spelling", ["2001:db8::2", "2001:0DB8:0000:0000:0000:0000:0000:0002"])
def test_an_interface_is_found_by_any_spelling_of_its_address(amphora, spelling):
    amphora.plug_vip("v6")
    assert amphora.plug.interface_for_address(ip_address(spelling)) == "eth1"
    assert amphora.plug.interface_for_address(ip_address("2001:db8::3")) is None


ROUTES = {"host_routes": [{"destination": "192.0.2.0/24", "nexthop": "203.0.113.2"}]}


def test_host_routes_that_the_kernel_refuses_do_not_cost_the_port(amphora, caplog):
    amphora.network.fail_next("activate", OperationFailed("Nexthop has invalid gateway"))
    amphora.plug_vip(**ROUTES)
    config = amphora.network.wires.active["eth1"]
    assert not any(route.gateway == "203.0.113.2" for route in config.routes)
    assert amphora.network.wires.stored["eth1"] == config, "a reboot must not fail over them either"
    assert "Nexthop has invalid gateway" in caplog.text


def test_a_link_that_is_not_there_is_looked_for(amphora):
    looks = []
    plug = Plug(
        amphora.network,
        amphora.locks,
        amphora.operations,
        vip_is_ours=lambda: True,
        advertise=amphora.advertise,
        look_for_links=lambda: looks.append(1),
    )
    with pytest.raises(NoSuchLink):
        plug.plug_network(parse_network_request({"mac_address": "fa:16:3e:00:00:99"}))
    assert looks == [1]


def test_neighbours_are_told_of_addresses_that_an_interface_holds(amphora):
    amphora.plug_vip("dual")
    amphora.told.clear()
    wanted = [ip_address(text) for text in ("2001:db8::2", "203.0.113.2", "127.0.0.1", "203.0.113.99")]
    amphora.plug.announce(wanted)
    assert amphora.told == [("203.0.113.2", "eth1", ONE), ("2001:db8::2", "eth1", ONE)]
    amphora.told.clear()
    amphora.single = False
    amphora.plug.announce(wanted)
    assert amphora.told == []


def test_neighbours_that_cannot_be_told_cost_nothing(amphora, caplog):
    def refuse():
        raise OperationFailed("the kernel is busy")

    amphora.plug_vip()
    amphora.network.interfaces = refuse
    amphora.plug.announce([ip_address("203.0.113.2")])
    assert "the kernel is busy" in caplog.text


def test_a_vips_port_is_shared_only_by_those_who_say_so(amphora):
    amphora.plug_vip()
    request = parse_network_request({"mac_address": ONE})
    with pytest.raises(InterfaceConflict):
        amphora.plug.plug_network(request)
    before = amphora.network.wires.active["eth1"]
    assert amphora.plug.plug_network(replace(request, shares_vip_port=True)).was_there
    assert amphora.network.wires.active["eth1"] == before
