# SPDX-License-Identifier: Apache-2.0
"""One of a pair: keepalived runs from what a controller renders, and holds the VIPs while haproxy serves."""

import pytest

from tests.interop import rig
from tests.interop.balancers import balancer, listener, pool
from tests.interop.driver import DriverFailed
from tests.support.vrrp_pair import eventually

TOPOLOGY = "ACTIVE_STANDBY"
PEER = {
    "id": "00000000-0000-4000-8000-00000000000b",
    "lb_network_ip": "127.0.0.1",
    "vrrp_ip": "203.0.113.6",
    "role": "BACKUP",
}


@pytest.fixture(scope="module", params=["newest", "legacy"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def controller(kind, amphora, members):
    members.http("a", rig.MEMBERS[0], 8080)
    amphora.cloud.attach(rig.VIP_MAC, "br-vip")
    amphora.cloud.attach(rig.MEMBER_MAC, "br-mem")
    controller = amphora.controller(kind)
    controller.plug_vip(balancer=document(), port=rig.VIP_PORT, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    controller.plug_network(port=rig.MEMBER_PORT, vip_subnet=rig.SUBNET)
    return controller


def document():
    return balancer([listener(1, 80, 1)], [pool(1, (rig.MEMBERS[0], 8080))], topology=TOPOLOGY, peers=[PEER])


def alone():
    """As tasks for one amphora are given it."""
    return document() | {"peers": []}


def holds_the_vip(controller):
    try:
        return controller.interface(address=rig.VIP) == "eth1"
    except DriverFailed as error:
        if error.kind != "NotFound":
            raise
        return False


def test_a_node_starts_serves_and_stops(controller, visitor, amphora):
    name = controller.interface(address=rig.VRRP_IP)
    assert name == "eth1"
    assert not holds_the_vip(controller)
    controller.vrrp_upload(balancer=document(), interface=name, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    controller.vrrp_start()
    assert not holds_the_vip(controller), "a node without a load balancer serves nobody"
    assert controller.update(balancer=alone()) == {"failed": []}
    eventually(lambda: holds_the_vip(controller), "the VIP is held", 30)
    for vip in (rig.VIP, rig.VIP6):
        eventually(lambda vip=vip: visitor.reaches(80, vip), f"{vip} answers", 10)
        assert visitor.get(80, address=vip).member == "a"
    controller.vrrp_reload(balancer=alone())
    controller.vrrp_start()
    assert holds_the_vip(controller)
    assert visitor.get(80).member == "a"
    for _ in range(2):
        controller.vrrp_stop(balancer=alone())
        assert not holds_the_vip(controller)
    controller.vrrp_start()
    eventually(lambda: holds_the_vip(controller), "the VIP is held again", 30)
    eventually(lambda: visitor.reaches(80), "the VIP answers again", 10)
    assert visitor.get(80).member == "a"
