# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from amphora.core.network.masquerade import IPFamily, Masquerade
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.lvs_masquerade import LvsMasquerade
from amphora.errors import InvalidInput, OperationFailed
from amphora.system import files
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.network_bench import vip_config
from tests.support.core import FakeNftables

MAC, LISTENER = "02:00:00:00:00:01", "11000000-0000-4000-8000-000000000002"


@pytest.fixture
def nftables():
    return FakeNftables()


@pytest.fixture
def network():
    network = FakeNetwork()
    for name, family, mac in (("eth1", "dual", MAC), ("eth2", "v4", MAC.replace("1", "2"))):
        network.wires.plug(mac)
        network.activate(replace(vip_config(family, mac, name), name=name))
    return network


@pytest.fixture
def lvs(memory_dir):
    return LvsDirectory(memory_dir)


def store(lvs):
    path = lvs.files(LISTENER).stored
    files.ensure_directory(path.parent)
    path.touch()


def added(nftables):
    words = [text.split("add element ")[1].split() for text in nftables.loaded]
    return {(each[0], each[4]) for each in words}


def test_only_interfaces_of_a_node_with_such_listeners(nftables, network, lvs):
    masquerade = LvsMasquerade(Masquerade(nftables), network, lvs, lambda: False)
    masquerade.refresh()
    assert nftables.loaded == []
    store(lvs)
    masquerade.refresh()
    assert added(nftables) == {("ip", '"eth1"'), ("ip6", '"eth1"'), ("ip", '"eth2"')}


def test_where_packets_are_filtered_tcp_is_tracked(nftables, network, lvs):
    store(lvs)
    LvsMasquerade(Masquerade(nftables), network, lvs, lambda: True).refresh()
    assert all("delete element" in text for text in nftables.loaded)


def test_a_listener_comes_up_all_the_same(nftables, network, lvs, caplog):
    store(lvs)
    nftables.errors = [OperationFailed("no nft here")]
    LvsMasquerade(Masquerade(nftables), network, lvs, lambda: False).refresh()
    assert "no nft here" in caplog.text


@pytest.mark.parametrize("name", ["", "a b", 'eth"1', "x" * 16])
def test_names_that_no_interface_can_have(nftables, name):
    for change in (Masquerade(nftables).add, Masquerade(nftables).delete):
        with pytest.raises(InvalidInput):
            change(IPFamily.V4, name)
    assert nftables.loaded == []
