# SPDX-License-Identifier: Apache-2.0
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.network.config_files import ConfigFiles
from amphora.drivers.network.config_format import from_json, to_json
from amphora.drivers.network.ifupdown.interfaces_file import parse_interfaces, render_interfaces
from amphora.drivers.network.shared_interface_file import parse, render
from amphora.errors import StorageError
from amphora.models import InterfaceConfig, InterfaceRole, Route, RoutingRule
from amphora.testing.network_bench import vip_config

IPS = st.ip_addresses()
INTERFACES = IPS.flatmap(
    lambda ip: st.integers(0, ip.max_prefixlen).map(lambda n: ipaddress.ip_interface((ip, n)))
)
NETWORKS = INTERFACES.map(lambda interface: interface.network)
TABLES = st.integers(1, 2**32 - 1)
CONFIGS = st.builds(
    InterfaceConfig,
    name=st.from_regex(r"[a-z0-9]{1,10}", fullmatch=True),
    mac_address=st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":")),
    role=st.sampled_from(InterfaceRole),
    addresses=st.lists(INTERFACES, max_size=3).map(tuple),
    floating=st.lists(INTERFACES, max_size=2).map(tuple),
    automatic=st.booleans(),
    mtu=st.none() | st.integers(68, 65535),
    routes=st.lists(
        st.builds(Route, NETWORKS, st.none() | IPS.map(str), TABLES, st.none() | IPS.map(str), st.booleans()),
        max_size=3,
    ).map(tuple),
    shared_addresses=st.lists(INTERFACES, max_size=2).map(tuple),
    rules=st.lists(st.builds(RoutingRule, NETWORKS, TABLES, st.integers(0, 32767)), max_size=2).map(tuple),
)


@given(CONFIGS)
def test_what_is_stored_is_read_back(config):
    assert from_json(to_json(config)) == config
    assert parse_interfaces(render_interfaces(config).encode()) == config
    assert parse(render(config).encode()) == config
    # As earlier releases stored it.
    assert parse(to_json(config).encode()) == config


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"name": "eth1"}']))
def test_anything_else_is_refused(data):
    for read in (from_json, parse_interfaces, parse):
        with pytest.raises(StorageError):
            read(data)


def test_a_dual_stack_interfaces_file():
    lines = render_interfaces(vip_config("dual", "02:00:00:00:00:01")).splitlines()
    assert lines[1:9] == [
        "auto eth1",
        "iface eth1 inet static",
        "    address 198.51.100.4/24",
        "    pre-up ip link set dev eth1 mtu 1450",
        "iface eth1 inet static",
        "    address 198.51.100.10/32",
        "iface eth1 inet6 static",
        "    address 2001:db8:1::4/64",
    ]
    assert "    post-up ip -4 rule add from 198.51.100.10/32 table 1 priority 100 protocol static" in lines
    assert "    post-up ip -6 route add ::/0 via 2001:db8:1::1 dev eth1 table 1 proto static onlink" in lines


def test_an_interface_without_addresses_is_still_brought_up():
    text = render_interfaces(InterfaceConfig("eth2", "02:00:00:00:00:01", mtu=1400))
    assert "iface eth2 inet manual\n    pre-up ip link set dev eth2 mtu 1400\n" in text


def test_files_that_are_not_ours_are_passed_over_and_named(tmp_path, caplog):
    store = ConfigFiles(tmp_path, ".json", to_json, from_json)
    config = InterfaceConfig("eth1", "02:00:00:00:00:01")
    store.write(config)
    (tmp_path / "eth2.json").write_text("{broken")
    (tmp_path / "eth3.json").write_text(to_json(config))
    (tmp_path / "README").write_text("not for us")
    assert store.read_all() == [config]
    assert "eth2.json skipped" in caplog.text
    assert "eth3.json skipped: it is for eth1" in caplog.text


def test_a_directory_that_is_not_there_holds_nothing(tmp_path):
    assert ConfigFiles(tmp_path / "none", ".json", to_json, from_json).read_all() == []
