# SPDX-License-Identifier: Apache-2.0
"""Which interface of a node may carry the address of a pair."""

from ipaddress import ip_address

import pytest

from amphora.core.pair import Pair
from amphora.core.topology import Topology, TopologyKind
from amphora.errors import InvalidInput
from amphora.models import Role
from tests.support.vrrp_pair import FAMILIES, INTERFACE

ELSEWHERE = {"198.51.100.100": "203.0.113.9", "2001:db8::100": "2001:db8:1::9"}


def require(namespace, vip, plugged):
    pair = Pair(None, namespace, lambda: plugged, 1.0, lambda _to_keepalived: None)
    pair.require_interface(Topology(TopologyKind.ACTIVE_STANDBY, Role.ACTIVE, vip, "b20e06cf1abc"))


def test_one_in_its_network_may_unless_it_was_plugged_for_another(network, vips):
    namespace = network.nodes[0].namespace
    for vip in vips:
        require(namespace, vip, {})
        require(namespace, vip, {INTERFACE: {ip_address(vip)}})
        with pytest.raises(InvalidInput, match=f"ha_ip: .*{vip}; plug the VIP first"):
            require(namespace, vip, {INTERFACE: {ip_address("198.51.100.11")}})


@pytest.mark.parametrize("vip", [vip for family in ("v4", "v6") for vip in FAMILIES[family]])
def test_without_an_address_in_its_network_none_may(network, vip):
    with pytest.raises(InvalidInput, match="plug the VIP first"):
        require(network.nodes[0].namespace, ELSEWHERE[vip], {})


def test_without_a_namespace_none_may(vips):
    with pytest.raises(InvalidInput, match="plug the VIP first"):
        require("amp-no-such-namespace", vips[0], {})
