# SPDX-License-Identifier: Apache-2.0
"""The last controllers that speak API 0.5: to an amphora of theirs from before, and to one they discover."""

import pytest

from amphora.testing.pki import Pki
from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, both, identity, listener, pool
from tests.interop.driver import DriverFailed
from tests.interop.udp import take_and_give_up

NOTHING_FAILED = {"failed": []}


@pytest.fixture(scope="module", params=["legacy", "zed"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def controller(kind, amphora, members):
    """A controller that has plugged the amphora's ports itself."""
    for name, address in zip("ab", rig.MEMBERS, strict=True):
        members.http(name, address, 8080)
        members.echo(address, 7007)
    amphora.cloud.attach(rig.VIP_MAC, "br-vip")
    amphora.cloud.attach(rig.MEMBER_MAC, "br-mem")
    controller = amphora.controller(kind)
    nothing = balancer([], [])
    controller.plug_vip(balancer=nothing, port=rig.VIP_PORT, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    controller.plug_network(port=rig.MEMBER_PORT, vip_subnet=rig.SUBNET)
    return controller


@pytest.fixture(scope="module")
def tenant(amphora):
    (amphora.directory / "tenant").mkdir()
    return Pki(amphora.directory / "tenant", "tenant CA", key="rsa")


def test_information(controller, kind):
    info = controller.info()
    assert int(info["haproxy_version"].split(".")[0]) >= 2
    assert {request.path.split("/")[1] for request in controller.made()} >= {
        {"legacy": "0.5", "zed": "1.0"}[kind]
    }
    assert controller.interface(address=rig.VRRP_IP) == "eth1"
    assert controller.interface(address=rig.VIP6) == "eth1"


def test_create_update_and_delete(controller, visitor, amphora, kind):
    first, second = listener(1, 80, 1), listener(2, 90, 2, "TCP")
    pools = [pool(1, *both(8080)), pool(2, (rig.MEMBERS[0], 7007), protocol="TCP")]
    document = balancer([first, second], pools)
    for _ in range(2):
        assert controller.update(balancer=document) == NOTHING_FAILED
        assert {visitor.get(80).member for _ in range(4)} == {"a", "b"}
        assert visitor.get(80, address=rig.VIP6).status == 200
        assert visitor.exchange(90, b"x" * 5000) == b"x" * 5000
    controller.reload(balancer=document)
    controller.start(balancer=document)
    assert {each["uuid"] for each in controller.listeners()} == {first["id"], second["id"]}
    of_its_own = {"legacy": {first["id"], second["id"]}, "zed": {LOAD_BALANCER}}[kind]
    assert {path.parent.name for path in amphora.agent.base_path.glob("*/haproxy.cfg")} == of_its_own
    controller.delete(balancer=document, listener_id=first["id"])
    assert (visitor.reaches(80), visitor.reaches(90)) == (False, True)
    controller.delete(balancer=balancer([second], pools), listener_id=second["id"])
    assert controller.listeners() == []


def test_termination_with_its_certificates_first(controller, visitor, tenant):
    references, pems = [], {}
    for name in ("www.example.com", "shop.example.com"):
        made = tenant.server(name, file_name=f"{name}.pem")
        pems[name] = made.certificate_pem.decode()
        references.append(
            controller.store_certificate(certificate=pems[name], private_key=made.key_pem.decode())
        )
    good = tenant.client("good", file_name="good.pem")
    secure = listener(
        3,
        443,
        1,
        "TERMINATED_HTTPS",
        tls_certificate_id=references[0],
        sni_containers=references[1:],
        client_authentication="MANDATORY",
        client_ca_tls_certificate_id=controller.store_secret(secret=tenant.ca_pem.decode()),
    )
    document = balancer([secure], [pool(1, *both(8080))])
    controller.made()
    assert controller.update(balancer=document) == NOTHING_FAILED
    puts = [request.path for request in controller.made() if request.method == "PUT"]
    assert "/certificates/" in puts[0]
    assert puts[-1].endswith("/reload")
    for name, pem in pems.items():
        visit = visitor.get(443, tls=tenant.client_context(good), server_name=name)
        assert (visit.certificate, visit.status) == (pem, 200)
    with pytest.raises(OSError, match="alert|reset|EOF"):
        visitor.get(443, tls=tenant.client_context(None), server_name="www.example.com")
    controller.delete(balancer=document, listener_id=secure["id"])
    assert not visitor.reaches(443)


def test_policies_and_persistence(controller, visitor):
    rule = {"id": identity(3, 10), "type": "PATH", "compare_type": "STARTS_WITH", "value": "/b", "key": None}
    policy = {
        "id": identity(3, 1),
        "action": "REDIRECT_TO_POOL",
        "redirect_pool_id": identity(9, 2),
        "l7rules": [rule | {"invert": False}],
    }
    sticky = pool(1, *both(8080), session_persistence={"type": "SOURCE_IP"})
    document = balancer([listener(4, 80, 1, l7policies=[policy])], [sticky, pool(2, (rig.MEMBERS[1], 8080))])
    assert controller.update(balancer=document) == NOTHING_FAILED
    assert len({visitor.get(80).member for _ in range(4)}) == 1
    assert visitor.get(80, "/b").member == "b"
    controller.delete(balancer=document, listener_id=identity(1, 4))


def test_maintenance(controller, amphora):
    controller.rotate(pem=amphora.new_certificate().decode())
    text = controller.agent_configuration(topology="SINGLE", changes={"heartbeat_interval": 4})
    controller.put_agent_configuration(text=text + amphora.own_sections())
    assert amphora.agent.config_path.read_text() == text + amphora.own_sections()
    with pytest.raises(DriverFailed, match="NotFound"):
        controller.interface(address="203.0.113.99")


def test_a_udp_listener_is_taken_and_given_up(controller):
    take_and_give_up(controller)
