# SPDX-License-Identifier: Apache-2.0
"""Files as Octavia's agent leaves them mean what our own plan for the same request means."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.core.network.interface_plan import (
    held_elsewhere,
    member_interface,
    same_interface,
    vip_interface,
)
from amphora.core.network.plug_requests import parse_network_request, parse_vip_request
from amphora.drivers.network.octavia_interface_file import (
    OctaviaInterfaceFiles,
    is_octavia_file,
    parse_document,
    parse_plugged_interfaces,
)
from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.drivers.network.shared_interface_file import render
from amphora.errors import StorageError
from amphora.models import InterfaceRole
from amphora.system.command import CommandRunner
from tests.support.load_balancers import MAC, MEMBER_PORT, OTHER_MAC, VIP

DATA = Path(__file__).with_name("octavia")
MACS = {"eth1": MAC, "eth2": OTHER_MAC}


def read(name):
    return parse_document(json.loads((DATA / f"{name}.json").read_text()), MACS.get)


def test_the_vip_of_a_single_amphora():
    assert same_interface(read("vip-single"), vip_interface("eth1", parse_vip_request("203.0.113.2", VIP)))


def test_the_vip_of_a_pair():
    planned = vip_interface("eth1", parse_vip_request("203.0.113.2", VIP))
    assert same_interface(read("vip-pair"), held_elsewhere(planned))


def test_a_members_port():
    assert same_interface(read("member"), member_interface("eth2", parse_network_request(MEMBER_PORT)))


@pytest.mark.parametrize(
    "planned",
    [
        vip_interface("eth1", parse_vip_request("203.0.113.2", VIP)),
        held_elsewhere(vip_interface("eth1", parse_vip_request("203.0.113.2", VIP))),
        member_interface("eth2", parse_network_request(MEMBER_PORT)),
        member_interface("eth2", parse_network_request({"mac_address": OTHER_MAC})),
    ],
    ids=["vip-single", "vip-pair", "member", "automatic"],
)
def test_what_we_store_means_the_same_in_octavias_form(planned):
    document = json.loads(render(planned))
    assert same_interface(parse_document(document, MACS.get), planned)
    # All that a constructor there takes; anything more would be an error.
    known = {"name", "if_type", "mtu", "addresses", "routes", "rules", "scripts", "is_sriov"}
    assert document.keys() <= known
    plain = {"address", "prefixlen", "octavia_owned", "dhcp", "ipv6auto"}
    assert all(each.keys() <= plain for each in document["addresses"])


def test_its_scripts_translate_addresses_of_each_family():
    planned = member_interface("eth2", parse_network_request(MEMBER_PORT))
    (family,) = {f"ipv{address.version}" for address in planned.addresses}
    scripts = json.loads(render(planned))["scripts"]
    assert scripts["up"] == [{"command": f"/usr/local/bin/lvs-masquerade.sh add {family} eth2"}]
    assert scripts["down"] == [{"command": f"/usr/local/bin/lvs-masquerade.sh delete {family} eth2"}]


def test_a_port_that_asks_the_network():
    document = json.loads((DATA / "member.json").read_text())
    for asked in ([{"dhcp": True}], [{"ipv6auto": True}], [{"dhcp": True, "ipv6auto": True}]):
        config = parse_document(document | {"addresses": asked, "routes": []}, MACS.get)
        assert (config.automatic, config.addresses, config.role) == (True, (), InterfaceRole.MEMBER)


def test_loopback_needs_no_configuration():
    assert parse_document({"if_type": "lo", "name": "lo"}, MACS.get) is None


def test_an_interface_whose_link_nobody_knows():
    with pytest.raises(StorageError, match="MAC address of eth2"):
        parse_document({"if_type": "backend", "name": "eth2", "addresses": []}, {}.get)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {"if_type": st.sampled_from(["vip", "backend", "x"]), "name": st.just("eth1")},
        optional=dict.fromkeys(("addresses", "routes", "rules", "mtu"), JSON),
    )
)
def test_whatever_else_a_file_holds_is_refused(document):
    try:
        config = parse_document(document, MACS.get)
    except StorageError:
        return
    assert config.addresses == config.floating == ()


@given(st.binary(max_size=80))
def test_any_list_of_links_can_be_read(data):
    assert all(value == value.lower() for value in parse_plugged_interfaces(data).values())


def test_the_latest_of_a_links_names_counts():
    listed = b"FA:16:3e:00:00:02 eth1\n\nnonsense\nfa:16:3e:00:00:01 eth1\nfa:16:3e:00:00:02 eth2\n"
    assert parse_plugged_interfaces(listed) == MACS


@pytest.fixture
def amphora(tmp_path):
    """A directory as Octavia's agent leaves it."""
    directory, plugged = tmp_path / "interfaces", tmp_path / "plugged_interfaces"
    directory.mkdir()
    (directory / "eth1.json").write_text((DATA / "vip-single.json").read_text())
    (directory / "eth2.json").write_text((DATA / "member.json").read_text())
    (directory / "lo.json").write_text((DATA / "lo.json").read_text())
    plugged.write_text(f"{MAC} eth1\n{OTHER_MAC} eth2\n")
    return Pyroute2Network(directory, "amp-none", CommandRunner(), plugged=plugged)


def test_a_driver_knows_what_octavia_has_stored(amphora, caplog):
    assert [(each.name, each.mac_address) for each in amphora.stored()] == [
        ("eth1", MAC),
        ("eth2", OTHER_MAC),
    ]
    assert caplog.records == []


def test_what_is_stored_anew_counts_from_then_on(amphora, tmp_path):
    planned = vip_interface("eth1", parse_vip_request("203.0.113.2", VIP | {"mtu": 1400}))
    amphora.persist(planned)
    assert amphora.stored()[0] == planned
    assert not is_octavia_file((tmp_path / "interfaces/eth1.json").read_bytes())
    for name in ("eth1", "eth2"):
        amphora.forget(name)
        amphora.forget(name)
    assert amphora.stored() == []


def test_a_plugged_link_is_listed_as_octavia_does_it(amphora, tmp_path):
    plugged = tmp_path / "plugged_interfaces"
    plugged.write_text(f"{MAC} eth1\nsomething else\n{OTHER_MAC.upper()} eth4\n")
    planned = vip_interface("eth1", parse_vip_request("203.0.113.2", VIP))
    amphora.persist(replace(planned, mac_address=MAC))
    amphora.persist(replace(planned, name="eth2", mac_address=OTHER_MAC))
    former = plugged.stat().st_ino
    amphora.persist(replace(planned, name="eth2", mac_address=OTHER_MAC))
    assert plugged.read_text() == f"{MAC} eth1\nsomething else\n{OTHER_MAC} eth2\n"
    assert (plugged.stat().st_mode & 0o777, plugged.stat().st_ino) == (0o644, former)
    amphora.forget("eth2")
    assert f"{OTHER_MAC} eth2\n" in plugged.read_text(), "the list only ever grows"


def test_a_link_is_listed_before_anything_else_is_stored(amphora, tmp_path):
    (tmp_path / "plugged_interfaces").unlink()
    (tmp_path / "plugged_interfaces").mkdir()
    with pytest.raises(StorageError):
        amphora.persist(vip_interface("eth7", parse_vip_request("203.0.113.2", VIP)))
    assert not (tmp_path / "interfaces/eth7.json").exists()


def test_without_octavias_directory_no_list_is_kept(tmp_path):
    (tmp_path / "interfaces").mkdir()
    plugged = tmp_path / "missing/plugged_interfaces"
    amphora = Pyroute2Network(tmp_path / "interfaces", "amp-none", CommandRunner(), plugged=plugged)
    amphora.persist(vip_interface("eth1", parse_vip_request("203.0.113.2", VIP)))
    assert not plugged.parent.exists()


def test_what_octavias_agent_stores_after_us_counts_from_then_on(amphora, tmp_path):
    amphora.persist(vip_interface("eth1", parse_vip_request("203.0.113.2", VIP | {"mtu": 1400})))
    (tmp_path / "interfaces/eth1.json").write_text((DATA / "vip-single.json").read_text())
    assert amphora.stored()[0] == read("vip-single")


def test_damaged_and_foreign_files_do_not_hide_others(amphora, tmp_path, caplog):
    (tmp_path / "interfaces/eth1.json").write_text('{"if_type": "vip", "name": "eth7", "addresses": []}')
    (tmp_path / "interfaces/eth3.json").write_text('{"if_type": "vip"}')
    files = OctaviaInterfaceFiles(tmp_path / "interfaces", "", tmp_path / "plugged_interfaces")
    assert [each.name for each in files.read_all()] == ["eth2"]
    assert caplog.text.count(" skipped: ") == 2
