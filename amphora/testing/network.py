# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The contract of network drivers as tests, for authors of drivers.

Inherit :class:`amphora.testing.suites.NetworkSuite` and say how to build the driver; it needs root. A
driver without a kernel takes :class:`NetworkContract` only and gives a fixture ``bench``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import replace

import pytest

from amphora.errors import NoSuchLink, OperationFailed, StorageError
from amphora.models import DriftArea, DriftReason, InterfaceConfig
from amphora.testing.conditions import full_disk
from amphora.testing.network_bench import NetworkBench, NetworkFixtures, new_mac_address, vip_config

#: Seconds that drivers under test are built to wait for a link.
PATIENCE = 0.5


class NetworkContract(NetworkFixtures):
    """What can be seen through the contract alone."""

    def test_is_available_here(self, bench: NetworkBench, family: str) -> None:
        bench.driver.check_available()

    def test_stored_configuration_is_read_back_and_replaced(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, new_mac_address())
        bench.driver.persist(config)
        bench.driver.persist(config)
        assert list(bench.driver.stored()) == [config]
        changed = replace(config, mtu=None, automatic=True, floating=config.addresses[1:])
        bench.driver.persist(changed)
        assert list(bench.driver.stored()) == [changed]

    def test_stored_configuration_outlives_a_reboot(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.reboot()
        assert list(bench.driver.stored()) == [config], "what persist() stored is gone after a reboot"

    def test_full_disk_leaves_the_former_configuration(self, bench: NetworkBench, family: str) -> None:
        former = vip_config(family, new_mac_address())
        bench.driver.persist(former)
        wanted, changed = former, replace(former, mtu=1300)
        with contextlib.suppress(StorageError), full_disk():
            bench.driver.persist(changed)
            wanted = changed
        found = list(bench.driver.stored())
        assert found == [wanted], f"a persist() that failed left {found} of what was stored"

    def test_forgotten_configuration_is_gone(self, bench: NetworkBench, family: str) -> None:
        one, other = (vip_config(family, new_mac_address(), name) for name in ("eth1", "eth2"))
        bench.driver.persist(one)
        bench.driver.persist(other)
        for _ in range(2):
            bench.driver.forget("eth1")
        assert list(bench.driver.stored()) == [other]

    def test_names_that_leave_the_directory_are_refused(self, bench: NetworkBench, family: str) -> None:
        for name in ("../evil", "", ".", "a/b", "eth1\0", "x" * 16):
            with pytest.raises(StorageError):
                bench.driver.persist(vip_config(family, new_mac_address(), name))
            with pytest.raises(StorageError):
                bench.driver.forget(name)

    def test_storing_touches_nothing_that_runs(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        before = bench.driver.interfaces()
        bench.driver.persist(config)
        assert bench.driver.interfaces() == before

    def test_activated_interface_holds_its_configuration(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        for _ in range(2):
            bench.driver.activate(config)
            assert bench.holds(config)

    def test_activation_stores_nothing(self, bench: NetworkBench, family: str) -> None:
        bench.driver.activate(vip_config(family, bench.plug()))
        assert list(bench.driver.stored()) == [], "activate() stored the configuration, as only persist() may"

    def test_changed_configuration_replaces_the_former(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        fewer = replace(config, addresses=config.addresses[:1], routes=config.routes[:1], rules=())
        bench.driver.activate(fewer)
        assert bench.holds(fewer)
        bench.driver.activate(config)
        assert bench.holds(config)

    def test_unknown_link_is_awaited_and_then_refused(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, new_mac_address())
        begun = time.monotonic()
        with pytest.raises(NoSuchLink, match=config.mac_address):
            bench.driver.activate(config)
        assert time.monotonic() - begun >= PATIENCE
        assert bench.interface("eth1") is None

    def test_link_that_comes_late_is_taken(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, new_mac_address())
        late = threading.Timer(PATIENCE / 4, bench.plug, [config.mac_address])
        late.start()
        bench.driver.activate(config)
        late.join()
        assert bench.holds(config)

    def test_deactivated_interface_is_gone_and_can_come_back(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        for _ in range(2):
            bench.driver.deactivate("eth1")
            assert bench.interface("eth1") is None, "deactivate() left the interface in the data namespace"
        bench.driver.activate(config)
        assert bench.holds(config)

    def test_restore_brings_all_back_after_a_reboot(self, bench: NetworkBench, family: str) -> None:
        configs = [vip_config(family, bench.plug()), _member(family, bench.plug())]
        for config in configs:
            bench.driver.persist(config)
            bench.driver.activate(config)
        bench.reboot()
        for _ in range(2):
            bench.driver.restore()
            assert all(bench.holds(config) for config in configs)

    def test_restore_goes_on_past_a_missing_link(self, bench: NetworkBench, family: str) -> None:
        missing = vip_config(family, new_mac_address())
        config = _member(family, bench.plug())
        for each in (missing, config):
            bench.driver.persist(each)
        with pytest.raises(OperationFailed, match="eth1: No suitable network interface found"):
            bench.driver.restore()
        assert bench.holds(config)

    def test_what_is_stored_and_active_has_no_differences(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.driver.activate(config)
        assert list(bench.driver.differences()) == []
        bench.driver.forget(config.name)
        assert list(bench.driver.differences()) == [], "differences() reports what is not stored"

    def test_what_is_stored_and_not_active_is_a_missing_link(self, bench: NetworkBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        before = bench.driver.interfaces()
        found = list(bench.driver.differences())
        assert [(each.area, each.subject) for each in found] == [(DriftArea.LINKS, config.name)]
        assert found[0].reason in (DriftReason.LINK_MISSING, DriftReason.LINK_ELSEWHERE)
        assert bench.driver.interfaces() == before, "differences() activated what it should only report"

    def test_restore_of_nothing_is_nothing(self, bench: NetworkBench, family: str) -> None:
        before = bench.driver.interfaces()
        bench.driver.restore()
        assert bench.driver.interfaces() == before


def _member(family: str, mac_address: str) -> InterfaceConfig:
    config = vip_config(family, mac_address, "eth2")
    return replace(config, addresses=config.addresses[:1], routes=(), rules=())
