# SPDX-License-Identifier: Apache-2.0
"""Ports plugged under /1.0 as the kernel has them afterwards."""

import pytest

from tests.support.attached_amphora import AttachedAmphora, ip
from tests.support.load_balancers import MAC, MEMBER_PORT, VIP

SHARED = MEMBER_PORT | {
    "mac_address": MAC,
    "vip_net_info": VIP | {"vip": "203.0.113.2", "additional_vips": []},
}


@pytest.fixture
def amphora(memory_dir, request):
    amphora = AttachedAmphora(memory_dir, getattr(request, "param", "SINGLE"))
    yield amphora
    amphora.clean_up()


def test_a_single_amphora_holds_vips_and_routes_in_a_table_of_their_own(amphora):
    status, body = amphora.post("/1.0/plug/vip/203.0.113.2", VIP)
    whole = "203.0.113.2, 2001:0db8:0000:0000:0000:0000:0000:0004"
    assert (status, body["details"]) == (202, f"VIPs plugged on interface eth1: {whole}")
    assert {"203.0.113.4/24", "203.0.113.2/32", "2001:db8::4/128"} <= amphora.addresses("eth1")
    assert any(address.startswith("fe80::") for address in amphora.addresses("eth1"))
    host = "198.51.100.0/24 via 203.0.113.5 proto static onlink"
    default = "default via 203.0.113.1 proto static onlink"
    assert amphora.routes("eth1") == {default, host}
    linked = "203.0.113.0/24 proto static scope link src 203.0.113.2"
    assert amphora.routes("eth1", "1") == {default, host, linked}
    assert "2001:db8::/64 proto static src 2001:db8::4" in amphora.routes("eth1", "1", "-6")
    for table in ("1", "main"):
        found = amphora.routes("eth1", table, "-6")
        assert any(route.startswith("default via 2001:db8::1 proto static") for route in found)
    assert amphora.rules() == {"from 203.0.113.2 lookup 1"}
    assert amphora.rules("-6") == {"from 2001:db8::4 lookup 1"}
    for address in ("203.0.113.4", "203.0.113.2", "2001:DB8:0::4"):
        assert amphora.agent.call("GET", f"/1.0/interface/{address}").json["interface"] == "eth1"


@pytest.mark.parametrize("amphora", ["ACTIVE_STANDBY"], indirect=True)
def test_one_of_a_pair_leaves_vips_and_their_rules_to_keepalived(amphora):
    assert amphora.post("/1.0/plug/vip/203.0.113.2", VIP)[0] == 202
    global_ones = {address for address in amphora.addresses("eth1") if not address.startswith("fe80")}
    assert global_ones == {"203.0.113.4/24"}
    host = "198.51.100.0/24 via 203.0.113.5 proto static onlink"
    assert amphora.routes("eth1") == {"default via 203.0.113.1 proto static onlink", host}
    assert amphora.routes("eth1", "1") == {host}
    assert (amphora.rules(), amphora.rules("-6")) == (set(), set())
    assert amphora.agent.call("GET", "/1.0/interface/203.0.113.4").json["interface"] == "eth1"
    assert amphora.agent.call("GET", "/1.0/interface/203.0.113.2").status == 404


def test_a_member_network_beside_the_vip_comes_and_goes(amphora):
    amphora.post("/1.0/plug/vip/203.0.113.2", VIP)
    before = (amphora.addresses("eth1"), amphora.routes("eth1"), amphora.routes("eth1", "1"))
    for _ in range(2):
        assert amphora.post("/1.0/plug/network", SHARED)[0] == 202
        assert amphora.addresses("eth1") == before[0] | {"10.0.0.5/24"}
        assert amphora.routes("eth1") == before[1] | {"192.0.2.0/24 via 10.0.0.9 proto static onlink"}
    assert amphora.post("/1.0/plug/vip/203.0.113.2", VIP) == (409, {"message": "Interface already exists"})
    assert "10.0.0.5/24" in amphora.addresses("eth1")
    amphora.agent.stop()
    amphora.agent.start()
    assert amphora.post("/1.0/plug/network", SHARED | {"fixed_ips": []})[0] == 202
    assert (amphora.addresses("eth1"), amphora.routes("eth1"), amphora.routes("eth1", "1")) == before


def test_a_members_port_has_no_default_route_and_takes_another_mtu(amphora):
    assert amphora.post("/1.0/plug/network", MEMBER_PORT)[1]["details"] == "Plugged on interface eth2"
    assert amphora.routes("eth2") == {"192.0.2.0/24 via 10.0.0.9 proto static onlink"}
    for mtu in (1450, 1400):
        assert amphora.post("/1.0/plug/network", MEMBER_PORT | {"mtu": mtu})[0] == 202
        assert f"mtu {mtu} " in ip("-n", amphora.data, "link", "show", "dev", "eth2")
    assert any(address.startswith("fe80::") for address in amphora.addresses("eth2"))


def test_a_host_route_that_the_kernel_refuses_does_not_cost_the_port(amphora):
    own = [{"destination": "198.51.100.0/24", "nexthop": VIP["vrrp_ip"]}]
    assert amphora.post("/1.0/plug/vip/203.0.113.2", VIP | {"host_routes": own})[0] == 202
    assert amphora.routes("eth1") == {"default via 203.0.113.1 proto static onlink"}
    amphora.agent.stop()
    amphora.agent.start()
    assert amphora.agent.call("GET", "/1.0/interface/203.0.113.2").status == 200
