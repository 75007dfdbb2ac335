# SPDX-License-Identifier: Apache-2.0
"""The fake keeps the part of the contract that needs no kernel, and fails when told to."""

import pytest

from amphora.errors import OperationFailed
from amphora.testing.fake_network import FakeNetwork
from amphora.testing.network import PATIENCE, NetworkContract
from amphora.testing.network_bench import NetworkBench, new_mac_address, vip_config


class FakeBench(NetworkBench):
    def __init__(self):
        self.driver = FakeNetwork(patience=PATIENCE)

    def plug(self, mac_address=None):
        mac = mac_address or new_mac_address()
        self.driver.wires.plug(mac)
        return mac

    def reboot(self):
        self.driver.wires.reboot()


class TestFakeNetwork(NetworkContract):
    @pytest.fixture
    def bench(self):
        return FakeBench()


def test_fails_once_when_told_to():
    driver = FakeNetwork()
    config = vip_config("v4", new_mac_address())
    driver.wires.plug(config.mac_address)
    driver.fail_next("activate", OperationFailed("no"))
    with pytest.raises(OperationFailed, match="no"):
        driver.activate(config)
    assert driver.wires.active == {}
    driver.activate(config)
    assert driver.wires.active == {"eth1": config}


def test_cannot_be_told_to_fail_in_an_unknown_method():
    with pytest.raises(ValueError, match="explode"):
        FakeNetwork().fail_next("explode", OperationFailed("x"))
