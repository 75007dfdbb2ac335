# SPDX-License-Identifier: Apache-2.0
"""Quirks that controllers or their users know: those that are kept, and those that are put right."""

import hashlib
from ipaddress import ip_address

import pytest

from amphora.errors import InvalidConfiguration
from amphora.models import InterfaceConfig, InterfaceRole
from tests.support.load_balancers import (
    AMPHORA,
    LISTENER,
    LOAD_BALANCER,
    MAC,
    MEMBER_PORT,
    VIP,
    frontend,
    global_section,
    internal_metrics,
)

ONE = f"/1.0/loadbalancer/{LOAD_BALANCER}"
UPLOAD = f"/1.0/loadbalancer/{AMPHORA}/{LOAD_BALANCER}/haproxy"
BODY = (global_section() + frontend(LISTENER, ["203.0.113.2:80"])).encode()
SHARED = MEMBER_PORT | {
    "mac_address": MAC,
    "vip_net_info": VIP | {"vip": "203.0.113.2", "additional_vips": [], "is_sriov": False},
}


@pytest.fixture
def vip(client, rig):
    rig.network.wires.plug(MAC)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP).status_int == 202
    return rig.network.wires


def test_discovery_has_two_slashes(client):
    assert client.do("GET", "//").json == {"api_version": "1.0"}


def test_slips_of_the_pen_are_kept(client, rig):
    client.do("PUT", UPLOAD, BODY)
    client.do("PUT", f"{ONE}/start")
    assert client.do("PUT", f"{ONE}/stop").json["details"] == f"Listener {LOAD_BALANCER} stoped"
    assert client.do("PUT", "/1.0/vrrp/stop").json["details"] == "keepalived stoped"


@pytest.mark.parametrize("lead", range(96, 101))
def test_a_character_of_several_bytes_may_stand_anywhere(client, lead):
    body = b"#" * lead + "鍵".encode() + b"\n" + BODY
    assert client.do("PUT", UPLOAD, body).status_int == 202
    assert client.do("GET", f"{ONE}/haproxy").body == body


@pytest.mark.parametrize("bad", ["..", "amp_123", "%2e%2e", LOAD_BALANCER[:-1]])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", f"/1.0/loadbalancer/{{}}/{LOAD_BALANCER}/haproxy"),
        ("PUT", f"/1.0/loadbalancer/{AMPHORA}/{{}}/haproxy"),
        ("GET", "/1.0/loadbalancer/{}/haproxy"),
        ("PUT", "/1.0/loadbalancer/{}/start"),
        ("PUT", "/1.0/loadbalancer/{}/certificates/a.pem"),
        ("DELETE", "/1.0/listeners/{}"),
    ],
)
def test_an_id_that_is_no_uuid_goes_nowhere(client, rig, method, path, bad):
    base_path = rig.directory.files(LOAD_BALANCER).base_path
    before = rig.siblings()
    answer = client.do(method, path.format(bad), BODY)
    assert answer.status_int in (400, 404)
    assert rig.siblings() == before
    assert not any(base_path.iterdir())


def test_certificate_names_are_matched_as_a_whole(client):
    for name in ("xxpem.txt", "abc.pem.bak", ".pem"):
        answer = client.do("PUT", f"{ONE}/certificates/{name}", b"x")
        assert (answer.status_int, answer.json) == (400, {"message": "Filename has wrong format"})


def test_a_file_that_is_no_text_has_a_digest(client):
    client.do("PUT", f"{ONE}/certificates/a.pem", b"\xff\xfe\x00")
    digest = hashlib.md5(b"\xff\xfe\x00").hexdigest()
    assert client.do("GET", f"{ONE}/certificates/a.pem").json == {"md5sum": digest}


def test_digests_are_no_matter_of_security(client, monkeypatch):
    """On a host in FIPS mode MD5 works only for those who say so."""
    real = hashlib.md5

    def strict(data=b"", *, usedforsecurity=True):
        assert not usedforsecurity
        return real(data, usedforsecurity=False)

    monkeypatch.setattr(hashlib, "md5", strict)
    assert client.do("PUT", UPLOAD, BODY).headers["ETag"] == real(BODY).hexdigest()
    assert client.do("PUT", f"{ONE}/certificates/a.pem", b"x").headers["ETag"] == real(b"x").hexdigest()
    assert client.do("GET", f"{ONE}/certificates/a.pem").json["md5sum"] == real(b"x").hexdigest()


def test_a_vip_plugged_again_is_complete_before_the_conflict_is_told(client, vip):
    whole = vip.active["eth1"]
    vip.active["eth1"] = InterfaceConfig("eth1", MAC, InterfaceRole.VIP)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP).status_int == 409
    assert vip.active["eth1"] == whole


@pytest.mark.parametrize("paired", [False, True])
def test_a_member_network_on_the_vips_port_takes_nothing_from_the_vips(client, rig, paired):
    if paired:
        rig.pair_up()
    rig.network.wires.plug(MAC)
    client.send("/1.0/plug/vip/203.0.113.2", VIP)
    before = rig.network.wires.active["eth1"]
    for _ in range(2):
        answer = client.send("/1.0/plug/network", SHARED)
        assert (answer.status_int, answer.json["details"]) == (202, "Updated existing interface eth1")
        config = rig.network.wires.active["eth1"]
        assert set(config.addresses) - set(before.addresses) == set(config.shared_addresses)
        assert [str(address) for address in config.shared_addresses] == ["10.0.0.5/24"]
        assert (config.rules, config.floating, config.role) == (before.rules, before.floating, before.role)
        assert set(before.routes) < set(config.routes)
        assert [str(route.destination) for route in config.shared_routes] == ["192.0.2.0/24"]
    assert client.send("/1.0/plug/network", SHARED | {"fixed_ips": []}).status_int == 202
    assert rig.network.wires.active["eth1"] == before
    client.send("/1.0/plug/network", SHARED)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP).status_int == 409
    assert rig.network.wires.active["eth1"] == config


def test_a_vips_port_of_which_nothing_is_stored_is_plugged_as_the_request_has_it(client, rig, vip):
    vip.stored.clear()
    assert client.send("/1.0/plug/network", SHARED).status_int == 202
    config = vip.active["eth1"]
    assert config.role is InterfaceRole.VIP
    assert ip_address("203.0.113.2") in {address.ip for address in config.addresses}
    assert ip_address("10.0.0.5") in {address.ip for address in config.addresses}


def test_hardware_addresses_are_no_text(client, rig):
    rig.network.wires.plug(MAC)
    assert client.send("/1.0/plug/vip/203.0.113.2", VIP | {"mac_address": MAC.upper()}).status_int == 202


def test_a_keepalived_configuration_is_checked_before_it_is_stored(client, rig):
    rig.vrrp.errors = [InvalidConfiguration("(Line 1) Unknown keyword 'x'")]
    answer = client.do("PUT", "/1.0/vrrp/upload", b"x")
    assert (answer.status_int, answer.json["details"]) == (500, "(Line 1) Unknown keyword 'x'")


def test_metrics_of_the_amphora_itself_are_no_listener(client):
    client.do("PUT", UPLOAD, BODY + internal_metrics().encode())
    assert [entry["uuid"] for entry in client.do("GET", "/1.0/listeners").json] == [LISTENER]
    assert client.do("GET", "/1.0/details").json["listeners"] == [LISTENER]


def test_neighbours_are_not_told_of_the_loopback_address(client, rig, vip):
    client.do("PUT", UPLOAD, BODY + internal_metrics().encode())
    rig.told.clear()
    client.do("PUT", f"{ONE}/start")
    assert rig.told == [("203.0.113.2", "eth1")]


def test_a_configuration_arrives_as_it_was_escaped(client, rig):
    pushed = b"[health_manager]\nheartbeat_key = a&amp;b\n"
    assert client.do("PUT", "/1.0/config", pushed).status_int == 202
    assert rig.configuration.path.read_bytes() == pushed


def test_a_broken_configuration_leaves_the_one_in_use(client, rig):
    rig.configuration.path.write_bytes(b"in use")
    assert client.do("PUT", "/1.0/config", b"BROKEN").status_int == 500
    assert rig.configuration.path.read_bytes() == b"in use"


def test_an_agents_certificate_that_does_not_match_its_key_is_refused(client, rig, pki):
    one, other = pki.server("one"), pki.server("other")
    answer = client.do("PUT", "/1.0/certificate", one.certificate_pem + other.key_pem)
    assert (answer.status_int, answer.json) == (400, {"message": "Certificate and key do not match"})
    assert not rig.agent_certificate.exists()


def test_a_stop_of_what_has_crashed_and_a_reload_after_a_crash_succeed(client, rig):
    client.do("PUT", UPLOAD, BODY)
    for word in ("stop", "reload"):
        client.do("PUT", f"{ONE}/start")
        rig.processes.crash(f"haproxy-{LOAD_BALANCER}")
        assert client.do("PUT", f"{ONE}/{word}").status_int == 202


@pytest.mark.parametrize(
    ("sent", "of_image", "run"),
    [
        # (group in the upload, group of the image's file, group that haproxy gets)
        ("nobody-knows", "", "daemon"),
        ("bin", "", "bin"),
        ("bin", "adm", "adm"),
        ("", "adm", "adm"),
        ("", "nobody-knows", "daemon"),
    ],
)
def test_the_group_is_the_images_and_what_was_sent_is_what_is_kept(client, rig, sent, of_image, run):
    layout = rig.directory.files(LOAD_BALANCER)
    if of_image:
        (layout.base_path / "haproxy-default-user-group.conf").write_text(f"global\n    group {of_image}\n")
    group = f"    group {sent}\n" if sent else ""
    body = BODY.replace(b"    daemon\n", f"    daemon\n{group}".encode())
    body += b"    # a group of words that is no option\n    http-request set-header x group\\ x\n"
    answer = client.do("PUT", UPLOAD, body)
    assert answer.headers["ETag"] == hashlib.md5(body).hexdigest()
    assert client.do("PUT", f"{ONE}/start").status_int == 202
    got = client.do("GET", f"{ONE}/haproxy")
    assert (got.body, got.headers["ETag"]) == (body, answer.headers["ETag"])
    both = layout.overlay.read_text() + layout.running.read_text()
    assert [line for line in both.splitlines() if line.startswith("    group ")] == [f"    group {run}"]
    assert layout.running.read_bytes().endswith(b"group\\ x\n")
    assert layout.running.read_bytes().count(b"\n") == body.count(b"\n")
