# SPDX-License-Identifier: Apache-2.0
"""Our agent in Octavia's own image: there by pip and its unit, over reboots, and back to Octavia's agent.

The tests are one story, in this order. Needs root.
"""

import time

import pytest

from tests.interop import rig
from tests.interop.balancers import LOAD_BALANCER, balancer, both, listener, pool
from tests.interop.octavia_image import octavia_image, wait_for_traffic

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("os.geteuid() != 0", reason="booting a machine needs root"),
]

NOTHING_FAILED = {"failed": []}
CERTIFICATES = "/var/lib/octavia/certs"


@pytest.fixture(scope="module")
def world():
    with octavia_image() as world:
        _, members, _ = world
        for name, address in zip("ab", rig.MEMBERS, strict=True):
            members.http(name, address, 8080)
        yield world


@pytest.fixture(scope="module")
def image(world):
    return world[0]


@pytest.fixture(autouse=True)
def journal(image):
    """Shown where a test fails."""
    yield
    print(image.journal())


@pytest.fixture(scope="module")
def visitor(world):
    return world[2]


def document(*ports):
    """The limit of this machine is far below that of an amphora."""
    listeners = [listener(number, port, 1, connection_limit=1000) for number, port in enumerate(ports, 1)]
    return balancer(listeners, [pool(1, *both(8080))])


def is_running(image, unit):
    return image.run("sh", "-c", f"systemctl is-active {unit} || true").strip() == "active"


def test_it_starts_on_octavias_file_and_keeps_keys_on_its_block_device(image):
    image.install_ours()
    image.start_agent()
    assert image.run("findmnt", "-n", "-o", "FSTYPE", CERTIFICATES).strip() == "ext2"
    assert is_running(image, "certs-ramfs.service")


def test_it_plugs_and_serves(image, visitor):
    image.attach(rig.VIP_MAC, "br-vip")
    image.attach(rig.MEMBER_MAC, "br-mem")
    controller, nothing = image.controller, balancer([], [])
    controller.plug_vip(balancer=nothing, port=rig.VIP_PORT, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    controller.plug_network(port=rig.MEMBER_PORT, vip_subnet=rig.SUBNET)
    assert controller.update(balancer=document(80)) == NOTHING_FAILED
    assert {visitor.get(80).member for _ in range(4)} == {"a", "b"}
    assert visitor.get(80, address=rig.VIP6).status == 200


def test_keys_of_tenants_are_kept_on_the_block_device(image):
    pem = image.pki.server("www.example.com", file_name="tenant.pem", key="rsa").path.read_bytes()
    path = f"/1.0/loadbalancer/{LOAD_BALANCER}/certificates/{'5' * 40}.pem"
    assert image.client.call("PUT", path, pem).status == 200
    stored = f"{CERTIFICATES}/{LOAD_BALANCER}/{'5' * 40}.pem"
    assert image.run("cat", stored) == pem.decode()
    assert image.run("findmnt", "-n", "-o", "FSTYPE", "--target", stored).strip() == "ext2"
    assert image.client.call("DELETE", path).status == 200


def test_after_a_reboot_traffic_is_there_before_the_agent(image, visitor, report):
    image.hold_agent_back()
    began = time.monotonic()
    image.reboot()
    wait_for_traffic(visitor, 80)
    report(f"Octavia's image, agent held back: reboot to traffic {time.monotonic() - began:.2f} s")
    assert visitor.get(80, address=rig.VIP6).status == 200
    assert not is_running(image, "amphora-agent.service")


def test_the_agent_that_comes_later_goes_on_with_it(image, visitor):
    image.start_agent()
    assert image.controller.update(balancer=document(80, 81)) == NOTHING_FAILED
    assert visitor.get(80).status == 200
    assert visitor.get(81).status == 200


def test_back_under_octavias_agent_traffic_is_there_after_a_reboot(image, visitor, report):
    image.install_octavias()
    began = time.monotonic()
    image.reboot()
    wait_for_traffic(visitor, 80)
    report(f"Octavia's image, back to its agent: reboot to traffic {time.monotonic() - began:.2f} s")
    assert visitor.get(81).status == 200
    assert visitor.get(80, address=rig.VIP6).status == 200
    image.wait_for_agent()
    assert "gunicorn" in image.run("cat", "/var/log/amphora-agent.log").lower()


def test_octavias_program_brings_up_the_ports_that_we_stored(image, visitor):
    namespace = "amphora-haproxy"
    for name in ("eth1", "eth2"):
        image.run("ip", "-n", namespace, "addr", "flush", "dev", name, "scope", "global")
    assert not visitor.reaches(80)
    image.run("ip", "netns", "exec", namespace, "/usr/local/bin/amphora-interface", "up", "all")
    assert {visitor.get(80).member for _ in range(4)} == {"a", "b"}
    # That program takes the link-local address off the link, so IPv6 has no neighbours until the next boot.
    assert f"{rig.VIP6}/128" in image.run("ip", "-n", namespace, "addr", "show", "dev", "eth1")


def test_octavias_agent_drives_it_on(image, visitor):
    assert image.controller.update(balancer=document(80, 82)) == NOTHING_FAILED
    wait_for_traffic(visitor, 82)
    assert not visitor.reaches(81)


def test_and_ours_takes_it_over_again(image, visitor):
    image.install_ours()
    image.run("systemctl", "restart", "amphora-agent.service")
    image.wait_for_agent()
    assert visitor.get(82).status == 200
    assert image.controller.update(balancer=document(80, 83)) == NOTHING_FAILED
    assert visitor.get(83).status == 200
    assert not visitor.reaches(82)
