# SPDX-License-Identifier: Apache-2.0
"""A rig for network drivers: namespaces that stand for an amphora, and links plugged into it."""

from __future__ import annotations

import abc
import itertools
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_interface, ip_network
from typing import Any

import pytest

from amphora.drivers.network.base import NetworkDriver
from amphora.models import Interface, InterfaceConfig, InterfaceRole, Route, RoutingRule
from amphora.system import namespaces
from amphora.system.command import CommandRunner

FAMILIES = ("v4", "v6", "dual")

_PREFIXES = {"v4": ("198.51.100", 24, 32), "v6": ("2001:db8:1:", 64, 128)}
_NO_DETECTION = {"net/ipv6/conf/default/accept_dad": "0"}
_NUMBERS = itertools.count(1)


def new_mac_address() -> str:
    """Return a locally administered MAC address that no other call of this process got."""
    number, pid = next(_NUMBERS), os.getpid()
    return f"02:a6:{pid >> 8 & 255:02x}:{pid & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


def vip_config(family: str, mac_address: str, name: str = "eth1") -> InterfaceConfig:
    """Return what a VIP's interface holds, with one of everything that a configuration can have.

    :param family: ``v4``, ``v6`` or ``dual``.
    """
    parts = [
        _one_family(each, mac_address, name) for each in (("v4", "v6") if family == "dual" else (family,))
    ]
    return replace(
        parts[0],
        addresses=tuple(address for part in parts for address in part.addresses),
        routes=tuple(route for part in parts for route in part.routes),
        rules=tuple(rule for part in parts for rule in part.rules),
    )


def _one_family(family: str, mac_address: str, name: str) -> InterfaceConfig:
    start, prefix, whole = _PREFIXES[family]
    dot = "." if family == "v4" else ":"
    own, vip, gateway = (f"{start}{dot}{number}" for number in (4, 10, 1))
    subnet = ip_network(f"{own}/{prefix}", strict=False)
    everywhere = ip_network("0.0.0.0/0" if family == "v4" else "::/0")
    return InterfaceConfig(
        name=name,
        mac_address=mac_address,
        role=InterfaceRole.VIP,
        addresses=(ip_interface(f"{own}/{prefix}"), ip_interface(f"{vip}/{whole}")),
        mtu=1450,
        routes=(
            Route(everywhere, gateway, onlink=True),
            Route(everywhere, gateway, table=1, onlink=True),
            Route(subnet, table=1, preferred_source=vip),
        ),
        rules=(RoutingRule(ip_network(f"{vip}/{whole}"), table=1),),
    )


class NetworkFixtures:
    """What all parts of the suite have in common: each test runs for IPv4, for IPv6 and for both."""

    @pytest.fixture(params=FAMILIES)
    def family(self, request: pytest.FixtureRequest) -> str:
        """Return the family that a test is about."""
        return str(request.param)


class NetworkBench(abc.ABC):
    """What the contract's tests need of the machine, real or not.

    :ivar driver: the driver under test.
    """

    driver: NetworkDriver

    @abc.abstractmethod
    def plug(self, mac_address: str | None = None) -> str:
        """Make a link appear in the agent's own namespace; return its MAC address."""

    @abc.abstractmethod
    def reboot(self) -> None:
        """Play a reboot: the data namespace is gone, its links are back under other names.

        The agent is a new one: where the driver under test can be built anew, it is.
        """

    def interface(self, name: str) -> Interface | None:
        """Return an interface of the data namespace, or None."""
        return next((each for each in self.driver.interfaces() if each.name == name), None)

    def holds(self, config: InterfaceConfig) -> bool:
        """Whether the data namespace has the interface with exactly these addresses."""
        found = self.interface(config.name)
        if found is None or not found.up or found.mac_address != config.mac_address:
            return False
        return {a for a in found.addresses if not a.is_link_local} == set(config.addresses)


@dataclass
class KernelBench(NetworkBench):
    """Three namespaces: the agent's own, the data namespace, and the wire that peers of links are on.

    :ivar prefix: of their names; make it unique on the machine.
    :ivar build: makes the driver; called again after a reboot, as the agent would. None leaves the one
        there is.
    """

    prefix: str
    build: Callable[[], NetworkDriver] | None = None
    runner: CommandRunner = field(default_factory=CommandRunner)

    def __post_init__(self) -> None:
        self.root, self.data, self.wire = (f"{self.prefix}-{each}" for each in ("root", "data", "wire"))
        self._peers = itertools.count()

    def open(self) -> None:
        """Make the namespaces."""
        for name in (self.root, self.data, self.wire):
            # Waiting for duplicate address detection again and again would make tests slow.
            namespaces.ensure(name, {} if name == self.data else _NO_DETECTION, self.runner)

    def close(self) -> None:
        """Remove the namespaces and with them every link."""
        for name in (self.root, self.data, self.wire):
            if namespaces.exists(name):
                self.ip("netns", "del", name)

    def ip(self, *words: str) -> str:
        """Run ``ip``; it must succeed."""
        result = self.runner.run(("ip", *words), timeout=10)
        assert result.succeeded, f"ip {' '.join(words)}: {result.output}"
        return result.output

    def plug(self, mac_address: str | None = None) -> str:
        """Make a veth pair: one end is the new link, the other is up on the wire."""
        mac = mac_address or new_mac_address()
        name, peer = f"ens{mac[-2:]}", f"p{next(self._peers)}"
        self.ip("-n", self.wire, "link", "add", peer, "type", "veth", "peer", "name", "new")
        self.ip("-n", self.wire, "link", "set", "new", "address", mac, "netns", self.root, "name", name)
        self.ip("-n", self.wire, "link", "set", peer, "up")
        return mac

    def peer_of(self, number: int = 0) -> str:
        """Return the name on the wire of the other end of the n-th link plugged."""
        return f"p{number}"

    def reboot(self) -> None:
        """Bring the links back to the agent's own namespace under other names, and drop the other."""
        for number, link in enumerate(self.links(self.data)):
            self.ip(
                "-n", self.data, "link", "set", link["ifname"], "netns", self.root, "name", f"boot{number}"
            )
        self.ip("netns", "del", self.data)
        if self.build:
            self.driver = self.build()

    def links(self, namespace: str) -> list[dict[str, Any]]:
        """Return the links of a namespace but loopback, as ``ip -j`` has them."""
        found = json.loads(self.ip("-n", namespace, "-j", "-d", "addr") or "[]")
        return [link for link in found if link["ifname"] != "lo"]

    def picture(self) -> dict[str, Any]:
        """Return the output of ``ip -j`` in both namespaces, once it no longer changes."""
        deadline = time.monotonic() + 5
        picture = self._picture()
        while _unsettled(picture) and time.monotonic() < deadline:
            time.sleep(0.02)
            picture = self._picture()
        return picture

    def _picture(self) -> dict[str, Any]:
        questions: list[tuple[str, ...]] = [("-d", "addr")]
        for family in ("-4", "-6"):
            questions += [(family, "route", "show", "table", "all"), (family, "rule")]
        return {
            f"{namespace}: {' '.join(question)}": _in_order(
                json.loads(self.ip("-n", namespace, "-j", *question) or "[]")
            )
            for namespace in (self.root, self.data)
            for question in questions
        }


def _in_order(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # The kernel lists addresses in the order of their coming; one that was put back comes last.
    for link in found:
        if "addr_info" in link:
            link["addr_info"].sort(key=json.dumps)
    return found


def _unsettled(picture: dict[str, Any]) -> bool:
    links = [link for shown, found in picture.items() if shown.endswith("addr") for link in found]
    return any(_is_coming_up(link) for link in links)


def _is_coming_up(link: dict[str, Any]) -> bool:
    # The kernel notifies a link that its peer is up a moment after both are, one second at most, and only
    # then gives it its link-local address. Loopback has neither.
    up = "UP" in link["flags"] and "LOOPBACK" not in link["flags"]
    own = [each for each in link["addr_info"] if each.get("scope") == "link"]
    awaits_peer = up and not ("LOWER_UP" in link["flags"] and link["operstate"] == "UP" and own)
    return awaits_peer or any(each.get("tentative") for each in link["addr_info"])


def wait_until(question: Callable[[], object], what: str, seconds: float = 5.0) -> None:
    """Wait until a question is answered with something true.

    :raises AssertionError: it was not, in time.
    """
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, f"it did not happen in time: {what}"
        time.sleep(0.01)
