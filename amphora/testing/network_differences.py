# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: D102 - the names of the tests say what they promise
"""The part of the network drivers' contract that is about reporting differences, in a real kernel."""

from __future__ import annotations

from collections.abc import Iterator

from amphora.models import DriftReason, InterfaceConfig
from amphora.testing.network_bench import KernelBench, vip_config
from amphora.testing.network_kernel import FaultyAccess, NetworkKernelFixtures

_Words = tuple[str, ...]


class NetworkDifferencesContract(NetworkKernelFixtures):
    """A change behind the driver's back is reported, and activation restores what was stored."""

    def test_everything_changed_behind_the_drivers_back_is_told(
        self, bench: KernelBench, family: str, access: FaultyAccess
    ) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.driver.activate(config)
        for reason, words in _mischief(config):
            bench.ip("-n", bench.data, *words)
            access.arm(None)
            found = {(each.reason, each.subject) for each in bench.driver.differences()}
            assert (reason, "eth1") in found, f"after 'ip {' '.join(words)}' {reason} is not among {found}"
            assert set(access.calls) <= {"links", "addresses", "routes", "rules"}
            bench.driver.activate(config)
            left = list(bench.driver.differences())
            assert left == [], (
                f"activate() should have undone 'ip {' '.join(words)}', which is still reported"
            )

    def test_addresses_that_were_all_replaced_come_back_with_every_route(
        self, bench: KernelBench, family: str
    ) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.driver.activate(config)
        for address in config.addresses:
            other = "192.0.2.77/32" if address.version == 4 else "2001:db8:77::77/128"
            bench.ip("-n", bench.data, "addr", "replace", other, "dev", "eth1")
            bench.ip("-n", bench.data, "addr", "del", str(address), "dev", "eth1")
        bench.driver.activate(config)
        left = list(bench.driver.differences())
        assert left == [], f"activate() succeeded, and yet {left[0].reason.value}: {left[0].desired}"

    def test_link_that_was_taken_away_is_told(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.driver.activate(config)
        bench.ip("-n", bench.data, "link", "set", "eth1", "netns", bench.root, "name", "away")
        (moved,) = bench.driver.differences()
        assert moved.reason is DriftReason.LINK_ELSEWHERE
        assert "away" in moved.found
        bench.ip("-n", bench.root, "link", "del", "away")
        (gone,) = bench.driver.differences()
        assert (gone.reason, gone.subject) == (DriftReason.LINK_MISSING, "eth1")

    def test_what_is_not_the_drivers_is_no_difference(self, bench: KernelBench, family: str) -> None:
        config = vip_config(family, bench.plug())
        bench.driver.persist(config)
        bench.driver.activate(config)
        for version, network in (("-4", "192.0.2.0/24"), ("-6", "2001:db8:99::/64")):
            # As programs other than an administrator's mark theirs.
            bench.ip(
                "-n",
                bench.data,
                version,
                "route",
                "add",
                network,
                "dev",
                "eth1",
                "table",
                "77",
                "proto",
                "77",
            )
        assert list(bench.driver.differences()) == []


def _mischief(config: InterfaceConfig) -> Iterator[tuple[DriftReason, _Words]]:
    version = f"-{config.addresses[1].version}"
    other = {"-4": "192.0.2.77/32", "-6": "2001:db8:77::77/128"}[version]
    rule = config.rules[0]
    yield DriftReason.ADDRESS_MISSING, ("addr", "del", str(config.addresses[1]), "dev", "eth1")
    yield DriftReason.ADDRESS_UNEXPECTED, ("addr", "add", other, "dev", "eth1")
    yield DriftReason.ROUTE_MISSING, (version, "route", "del", "default", "dev", "eth1", "table", "1")
    unexpected = ("route", "add", other, "dev", "eth1", "table", "1", "proto", "static")
    yield DriftReason.ROUTE_UNEXPECTED, (version, *unexpected)
    yield DriftReason.RULE_MISSING, (version, "rule", "del", "from", str(rule.source), "table", "1")
    extra = ("rule", "add", "from", other, "table", "1", "priority", "90", "protocol", "static")
    yield DriftReason.RULE_UNEXPECTED, (version, *extra)
    yield DriftReason.MTU_DIFFERS, ("link", "set", "eth1", "mtu", "1400")
    yield DriftReason.LINK_DOWN, ("link", "set", "eth1", "down")
    yield DriftReason.LINK_RENAMED, ("link", "set", "eth1", "down", "name", "other")
