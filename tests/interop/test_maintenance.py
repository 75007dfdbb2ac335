# SPDX-License-Identifier: Apache-2.0
"""What a controller does to an amphora beside its load balancer: look, rotate, reconfigure."""

import socket
import ssl

import pytest

from tests.interop import rig
from tests.interop.balancers import balancer, both, listener, pool
from tests.interop.driver import DriverFailed
from tests.interop.visits import Visitor


@pytest.fixture(scope="module", autouse=True)
def serving(newest, members, visitor):
    for name, address in zip("ab", rig.MEMBERS, strict=True):
        members.http(name, address, 8080)
    assert newest.update(balancer=document()) == {"failed": []}
    assert visitor.get(80).status == 200


def document(**others):
    return balancer([listener(1, 80, 1, **others)], [pool(1, *both(8080))])


def served_certificate(agent):
    context = agent.pki.client_context(agent.client)
    with (
        socket.create_connection((agent.host, agent.port), 10) as plain,
        context.wrap_socket(plain, server_hostname=agent.host) as tls,
    ):
        return ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))


def test_information_that_the_driver_reads(newest):
    info, details = newest.info(), newest.details()
    assert info["api_version"] == "1.0"
    assert int(info["haproxy_version"].split(".")[0]) >= 2
    assert {"free", "buffers", "cached"} <= details["memory"].keys()
    assert isinstance(details["cpu_count"], int)
    assert isinstance(details["active_tuned_profiles"], str)
    assert details["haproxy_count"] == 1
    assert set(details["networks"]) == {"eth1", "eth2"}


@pytest.mark.parametrize(
    ("address", "name"),
    [(rig.VRRP_IP, "eth1"), (rig.VIP, "eth1"), ("2001:0db8:0::2", "eth1"), ("10.0.0.5", "eth2")],
)
def test_the_interface_of_an_address(newest, address, name):
    assert newest.interface(address=address) == name


def test_an_address_that_is_nowhere(newest):
    with pytest.raises(DriverFailed, match="NotFound"):
        newest.interface(address="203.0.113.99")


def test_plugging_again_is_accepted_and_changes_nothing(newest, visitor, plugged):
    def kernel():
        shown = [
            rig.ip("-n", plugged.cloud.data, family, kind)
            for family in ("-4", "-6")
            for kind in ("route", "rule")
        ]
        return [*shown, rig.ip("-n", plugged.cloud.data, "-o", "addr")]

    before = [" ".join(line.split("valid_lft")[0] for line in text.splitlines()) for text in kernel()]
    newest.plug_vip(balancer=document(), port=rig.VIP_PORT, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    newest.plug_network(port=rig.MEMBER_PORT, vip_subnet=rig.SUBNET)
    after = [" ".join(line.split("valid_lft")[0] for line in text.splitlines()) for text in kernel()]
    assert after == before
    assert visitor.get(80, address=rig.VIP6).status == 200


def test_members_on_the_vips_own_network(newest, visitor, plugged):
    shared = rig.VIP_PORT | {
        "fixed_ips": [
            {
                "ip_address": "10.7.0.5",
                "subnet": {"cidr": "10.7.0.0/24", "gateway_ip": None, "host_routes": []},
            }
        ]
    }
    for addresses in (shared["fixed_ips"], []):
        newest.plug_network(port=shared | {"fixed_ips": addresses}, vip_subnet=rig.SUBNET)
        held = rig.ip("-n", plugged.cloud.data, "-o", "addr", "show", "dev", "eth1")
        assert ("10.7.0.5/24" in held) is bool(addresses)
        for vip in (rig.VIP, rig.VIP6):
            assert visitor.get(80, address=vip).status == 200


def test_a_rotated_certificate_is_served_and_the_old_one_is_not(newest, visitor, plugged):
    former = plugged.directory / "amphora.pem"
    for _ in range(2):
        before, fresh = former.read_bytes(), plugged.new_certificate()
        newest.rotate(pem=fresh.decode())
        assert former.read_bytes() != before
        assert newest.info()["api_version"] == "1.0"
        assert served_certificate(plugged.agent).strip() in fresh.decode()
    assert visitor.get(80).status == 200


def test_a_certificate_without_its_key_is_refused(newest, plugged):
    pem = plugged.new_certificate().decode()
    with pytest.raises(DriverFailed, match="InvalidRequest"):
        newest.rotate(pem=pem.partition("-----END CERTIFICATE-----\n")[0] + "-----END CERTIFICATE-----\n")
    assert newest.info()["api_version"] == "1.0"


def test_the_agents_configuration_is_replaced_by_what_a_controller_renders(newest, plugged, visitor):
    text = newest.agent_configuration(
        topology="SINGLE",
        changes={"controller_ip_port_list": ["127.0.0.1:9", "[::1]:9"], "heartbeat_interval": 3},
    )
    whole = text + plugged.own_sections()
    newest.put_agent_configuration(text=whole)
    assert plugged.agent.config_path.read_text() == whole
    assert visitor.get(80).status == 200
    with pytest.raises(DriverFailed, match="InternalServerError"):
        newest.put_agent_configuration(text=whole + "\n[health_manager]\nheartbeat_interval = often\n")
    assert plugged.agent.config_path.read_text() == whole
    plugged.agent.stop()
    plugged.agent.start()
    assert newest.info()["api_version"] == "1.0"
    assert visitor.get(80).status == 200


def test_allowed_cidrs_are_the_only_ones_that_reach_a_listener(newest, plugged, visitor):
    far = Visitor(plugged.cloud.far, rig.FAR)
    assert (visitor.reaches(80), far.reaches(80)) == (True, True)
    rules = newest.rules(
        balancer=document(allowed_cidrs=[f"{rig.CLIENT}/32", "2001:db8::/64"]), address=rig.VRRP_IP
    )
    assert [rule["port"] for rule in rules] == [80, 80]
    assert (visitor.reaches(80), far.reaches(80)) == (True, False)
    assert visitor.reaches(80, rig.VIP6)
    assert visitor.get(80).status == 200, "members answer through their own port"
    newest.rules(balancer=document(), address=rig.VRRP_IP)
    assert (visitor.reaches(80), far.reaches(80)) == (True, True)
