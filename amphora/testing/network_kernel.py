# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The part of the network drivers' contract that is seen in a real kernel, and the fault tests."""

from __future__ import annotations

import abc
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.network.kernel import Kernel, KernelAccess
from amphora.errors import InterfaceConflict, OperationFailed
from amphora.models import InterfaceConfig
from amphora.testing.conditions import descriptors_left, living_in, open_descriptors
from amphora.testing.network_bench import KernelBench, NetworkFixtures, vip_config, wait_until
from amphora.testing.scratch import DriverSuite


class FaultyAccess(KernelAccess):
    """Counts the calls to the kernel and lets one of them fail.

    :ivar calls: names of the calls made since :meth:`arm`.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self._fatal: int | None = None
        self._done_first = False

    def arm(self, number: int | None, *, done_first: bool = False) -> None:
        """Let the call of this number, counted from 0, fail; None lets all succeed.

        :param done_first: the kernel carries it out and only the answer is bad.
        """
        self.calls, self._fatal, self._done_first = [], number, done_first

    def wrap(self, kernel: Kernel) -> Kernel:
        """Return a kernel that fails when its time has come."""
        return _FaultyKernel(kernel, self._around)  # type: ignore[return-value]

    def _around(self, name: str, call: Callable[[], Any]) -> Any:
        self.calls.append(name)
        if len(self.calls) - 1 != self._fatal:
            return call()
        if self._done_first:
            call()
        raise OperationFailed(f"injected into {name}")


class _FaultyKernel:
    def __init__(self, kernel: Kernel, around: Callable[[str, Callable[[], Any]], Any]) -> None:
        self._kernel = kernel
        self._around = around

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._kernel, name)
        return lambda *arguments: self._around(name, lambda: method(*arguments))


class NetworkKernelFixtures(NetworkFixtures, DriverSuite):
    """Fixtures for tests on real veth pairs in namespaces of their own.

    While a test runs, the agent's own network namespace is one made for it, so that a driver needs to
    know nothing of tests. ``/sys`` alone still shows the machine's. Set before :meth:`build` is called:

    :ivar namespace: name of the data namespace, which the driver must use.
    :ivar access: a way to the kernel that can fail, for a driver that has a seam for it.
    """

    namespace: str
    access: FaultyAccess

    @abc.abstractmethod
    def build(self, directory: Path) -> NetworkDriver:
        """Return a driver for :attr:`namespace` that keeps its files in this directory.

        Called again with the same directory to play the agent's restart after a reboot.
        """

    @pytest.fixture(name="access")
    def _access(self, bench: KernelBench) -> FaultyAccess:
        return self.access

    @pytest.fixture
    def bench(self, scratch_directory: Path) -> Iterator[KernelBench]:
        bench = KernelBench(f"npc{os.getpid()}", lambda: self.build(scratch_directory))
        self.namespace, self.access = bench.data, FaultyAccess()
        try:
            bench.open()
            with living_in(bench.root):
                bench.driver = self.build(scratch_directory)
                yield bench
        finally:
            bench.close()


class NetworkKernelContract(NetworkKernelFixtures):
    """What ``ip`` shows of it."""

    def test_routes_and_rules_are_in_their_tables(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        for route in config.routes:
            assert _route_line(bench, route.destination.version, route.table, str(route.destination))
        for rule in config.rules:
            rules = bench.ip("-n", bench.data, f"-{rule.source.version}", "rule")
            assert f"from {rule.source.network_address} lookup {rule.table}" in rules

    def test_mtu_is_set_and_left_when_not_given(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(replace(config, mtu=None))
        assert bench.links(bench.data)[0]["mtu"] == 1500
        bench.driver.activate(config)
        assert bench.links(bench.data)[0]["mtu"] == 1450

    def test_vip_is_used_at_once(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        flags = [info for info in bench.links(bench.data)[0]["addr_info"] if info.get("tentative")]
        assert [info for info in flags if info["scope"] == "global"] == []

    def test_router_advertisements_are_ignored_unless_wanted(self, bench: KernelBench, family: str) -> None:
        bench.driver.activate(vip_config(family, bench.plug()))
        key = "net.ipv6.conf.eth1.accept_ra"
        assert bench.ip("netns", "exec", bench.data, "sysctl", "-n", key).strip() == "0"

    def test_same_again_makes_no_change(self, bench: KernelBench, family: str, access: FaultyAccess) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        before = bench.picture()
        access.arm(None)
        bench.driver.activate(config)
        assert bench.picture() == before
        assert set(access.calls) <= {"links", "addresses", "routes", "rules"}

    def test_floating_address_is_left_alone(self, bench: KernelBench, family: str) -> None:
        full = vip_config(family, bench.plug())
        config = replace(full, addresses=full.addresses[:1], floating=full.addresses[1:], rules=(), routes=())
        bench.driver.activate(config)
        before = bench.picture()
        assert before
        bench.ip("-n", bench.data, "addr", "add", str(config.floating[0]), "dev", "eth1")
        bench.driver.activate(replace(config, mtu=1400))
        assert str(config.floating[0].ip) in bench.ip("-n", bench.data, "addr", "show", "eth1")

    def test_deactivation_leaves_nothing_behind(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        before = [bench.ip("-n", bench.data, each, "rule") for each in ("-4", "-6")]
        bench.driver.activate(config)
        bench.driver.deactivate("eth1")
        assert [bench.ip("-n", bench.data, each, "rule") for each in ("-4", "-6")] == before
        assert bench.links(bench.data) == []
        assert [link["address"] for link in bench.links(bench.root)] == [config.mac_address]

    def test_link_with_traffic_of_the_agent_is_not_touched(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        name = bench.links(bench.root)[0]["ifname"]
        bench.ip("-n", bench.root, "addr", "add", "192.0.2.10/24", "dev", name)
        bench.ip("-n", bench.root, "link", "set", name, "up")
        wait_until(lambda: _is_at_rest(bench, name), "the link is up")
        before = bench.picture()
        with pytest.raises(InterfaceConflict, match="agent's own"):
            bench.driver.activate(config)
        assert bench.picture() == before

    def test_other_links_of_the_agent_are_left_alone(self, bench: KernelBench, family: str) -> None:
        management = bench.plug()
        name = bench.links(bench.root)[0]["ifname"]
        bench.ip("-n", bench.root, "addr", "add", "192.0.2.10/24", "dev", name)
        bench.ip("-n", bench.root, "link", "set", name, "up")
        bench.ip("-n", bench.root, "route", "add", "default", "via", "192.0.2.1", "onlink", "dev", name)
        wait_until(lambda: _is_at_rest(bench, name), "the management link is up")
        before = _everything_of(bench, name)
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        assert _everything_of(bench, name) == before, "activate() changed the management interface"
        bench.driver.deactivate(config.name)
        assert _everything_of(bench, name) == before, "deactivate() changed the management interface"
        assert management in before

    def test_no_descriptor_stays_open(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        bench.driver.deactivate(config.name)
        before = open_descriptors()
        for _ in range(2):
            bench.driver.activate(config)
            bench.driver.interfaces()
            bench.driver.deactivate(config.name)
        assert not descriptors_left(before), descriptors_left(before)

    def test_refused_configuration_changes_nothing(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        before = bench.picture()
        unreachable = replace(config.routes[0], gateway="192.0.2.77", onlink=False)
        if config.routes[0].destination.version == 6:
            unreachable = replace(unreachable, gateway="2001:db8:77::1")
        with pytest.raises(OperationFailed):
            bench.driver.activate(replace(config, routes=(*config.routes[1:], unreachable)))
        after = bench.picture()
        changed = [what for what in before if after.get(what) != before[what]]
        assert not changed, f"an activate() that was refused changed what ip shows of {'; '.join(changed)}"


@pytest.mark.parametrize("done_first", [False, True], ids=["refused", "done"])
class NetworkFaultContract(NetworkKernelFixtures):
    """A failure at each single call to the kernel leaves both namespaces exactly as before."""

    def test_fault_while_plugging(
        self, bench: KernelBench, access: FaultyAccess, family: str, done_first: bool
    ) -> None:
        config = vip_config(family, bench.plug())
        assert self.every_fault(bench, access, config, done_first) > 5

    def test_fault_while_plugging_a_link_that_was_up(
        self, bench: KernelBench, access: FaultyAccess, family: str, done_first: bool
    ) -> None:
        config = vip_config(family, bench.plug())
        bench.ip("-n", bench.root, "link", "set", bench.links(bench.root)[0]["ifname"], "up")
        assert self.every_fault(bench, access, config, done_first) > 5

    def test_fault_while_changing(
        self, bench: KernelBench, access: FaultyAccess, family: str, done_first: bool
    ) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.activate(config)
        fewer = replace(config, mtu=1300, addresses=config.addresses[:1], routes=(), rules=())
        assert self.every_fault(bench, access, fewer, done_first) > 5

    def every_fault(
        self, bench: KernelBench, access: FaultyAccess, config: InterfaceConfig, done_first: bool
    ) -> int:
        """Let call after call fail until all succeed; return how many could."""
        before = bench.picture()
        for number in range(200):
            access.arm(number, done_first=done_first)
            complaint = _complaint(bench.driver, config)
            if not complaint:
                assert number >= len(access.calls), f"call {number} failed unseen"
                assert bench.holds(config)
                return number
            assert "injected" in complaint
            assert "could be undone" not in complaint, f"call {number}: {complaint}"
            assert bench.picture() == before, f"after a fault in call {number}, {access.calls[number]}"
        raise AssertionError("activation never ended")


def _complaint(driver: NetworkDriver, config: InterfaceConfig) -> str:
    try:
        driver.activate(config)
    except OperationFailed as error:
        return error.details
    return ""


def _route_line(bench: KernelBench, version: int, table: int, destination: str) -> str:
    words = ("-n", bench.data, f"-{version}", "route", "show", "table", str(table), destination)
    return bench.ip(*words)


def _everything_of(bench: KernelBench, name: str) -> str:
    words = (
        ("addr", "show", "dev", name),
        ("route", "show", "dev", name),
        ("-6", "route", "show", "dev", name),
    )
    return "\n".join(bench.ip("-n", bench.root, *each) for each in words)


def _is_at_rest(bench: KernelBench, name: str) -> bool:
    shown = bench.ip("-n", bench.root, "addr", "show", "dev", name)
    return "state UP" in shown and "fe80::" in shown and "tentative" not in shown
