# SPDX-License-Identifier: Apache-2.0
"""Plugs of ports, and what may be the case after each."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path

from amphora.drivers.network.shared_interface_file import own_part
from tests.faults.matrix import Kind
from tests.faults.scenario import Scenario
from tests.support.load_balancers import VIP

PLUG = "plug"
DRIVERS = ("pyroute2", "ifupdown")
#: What is asked for, and what the port holds before.
MEMBER, OTHER_ADDRESSES, VIP_PORT, BESIDE_VIP = "member", "other addresses", "VIP", "beside the VIP"

_NUMBER = os.getpid() & 0xFFFF
#: No other test's: links are found by it in the machine's own namespace.
MAC = f"fa:16:3e:fa:{_NUMBER >> 8:02x}:{_NUMBER & 255:02x}"
LINK, PEER = f"amf{_NUMBER}a", f"amf{_NUMBER}b"
#: Where ifup's driver notes what is active.
ACTIVE = Path("/run/amphora-ifupdown")
_VIP = "203.0.113.2"
_NETWORK, _VIP_PATH = "/1.0/plug/network", f"/1.0/plug/vip/{_VIP}"


def ip(*arguments):
    """Return what ip(8) tells, as objects."""
    shown = subprocess.run(["ip", "-j", *arguments], check=True, timeout=10, capture_output=True, text=True)
    return json.loads(shown.stdout or "[]")


def remove_link():
    """Take the port from the machine, wherever it is."""
    subprocess.run(["ip", "link", "del", PEER], timeout=10, capture_output=True)


@dataclass(frozen=True)
class Held:
    """What the kernel has of a port in the data namespace.

    :ivar routes: destination, gateway and table of those that no address brings.
    """

    mtu: int
    addresses: frozenset
    routes: frozenset = frozenset()
    rules: frozenset = frozenset()

    @property
    def stored(self):
        """Its part in what is stored."""
        return self.mtu, self.addresses


@dataclass(frozen=True)
class Version:
    """A request and what comes of it."""

    path: str
    body: dict
    held: Held


def _member(mtu, address, gateway):
    host_route = {"destination": "192.0.2.0/24", "nexthop": gateway}
    subnet = str(ip_interface(f"{address}/24").network)
    fixed = {"ip_address": address, "subnet_cidr": subnet, "host_routes": [host_route]}
    held = Held(mtu, frozenset({f"{address}/24"}), frozenset({("192.0.2.0/24", gateway, "main")}))
    return Version(_NETWORK, {"mac_address": MAC, "mtu": mtu, "fixed_ips": [fixed]}, held)


def _vip():
    gateway, host, v6 = ("203.0.113.1", "203.0.113.5", "2001:db8::1")
    routes = {
        *(("default", next_hop, table) for next_hop in (gateway, v6) for table in ("main", "1")),
        *(("198.51.100.0/24", host, table) for table in ("main", "1")),
        ("203.0.113.0/24", None, "1"),
        ("2001:db8::/64", None, "main"),
        ("2001:db8::/64", None, "1"),
    }
    addresses = {"203.0.113.4/24", f"{_VIP}/32", "2001:db8::4/128"}
    rules = {(_VIP, "1"), ("2001:db8::4", "1")}
    held = Held(1450, frozenset(addresses), frozenset(routes), frozenset(rules))
    return Version(_VIP_PATH, VIP | {"mac_address": MAC}, held)


def _beside_vip():
    vip, member = _vip(), _member(1450, "10.0.0.5", "10.0.0.9")
    held = Held(
        1450,
        vip.held.addresses | member.held.addresses,
        vip.held.routes | member.held.routes,
        vip.held.rules,
    )
    info = vip.body | {"vip": _VIP, "additional_vips": []}
    return Version(_NETWORK, member.body | {"vip_net_info": info}, held)


_ONE, _OTHER = _member(1450, "10.0.0.5", "10.0.0.9"), _member(1400, "10.0.1.6", "10.0.1.9")
_VERSIONS = {
    MEMBER: (None, _ONE),
    OTHER_ADDRESSES: (_ONE, _OTHER),
    VIP_PORT: (None, _vip()),
    BESIDE_VIP: (_vip(), _beside_vip()),
}
A, B = "A", "B"


def kinds(driver):
    """Return the kinds of plugs with a network driver."""
    family = f"port by {driver}"
    return tuple(Kind(family, PLUG, what, runs_before=False, runs_after=False) for what in _VERSIONS)


def stored_document(path):
    """Return what is stored of an interface, in this agent's own form."""
    # One driver writes a comment with it first, the other the form of Octavia's agent with it inside.
    document = json.loads(path.read_text().partition("\n")[0].removeprefix("# amphora-interface "))
    return own_part(document) or document


class PortScenario(Scenario):
    """The one port of the machine, new to it in each cell."""

    def __init__(self, rig, kind):
        before, after = _VERSIONS[kind.before]
        old = A if before else None
        super().__init__(rig, kind, f"port-{MAC}", [(old, old)], [(B, B)])
        self._versions = {A: before, B: after} if before else {B: after}
        self._namespace = rig.namespace

    def prepare(self):
        # A cell that failed has left its own.
        self.clean()
        ip("link", "add", LINK, "address", MAC, "type", "veth", "peer", "name", PEER)
        if A in self._versions:
            assert self._plug(A).status == 202

    def change(self):
        return self._plug(B)

    def repeat(self):
        answer = self.change()
        # 409: it was plugged before, which to these controllers is a success.
        done = answer.status == 202 or (answer.status == 409 and self.state() in self.new)
        return "" if done else f"repeated, it is answered {answer.status}: {answer.json}"

    def state(self):
        """Return the versions that are stored and that the kernel has."""
        stored, held = self._stored(), self._held()
        found = {version.held: marker for marker, version in self._versions.items()}
        kept = {version.held.stored: marker for marker, version in self._versions.items()}
        return kept.get(stored, stored), found.get(held, held)

    def incomplete(self):
        return [f"left behind: {path.name}" for path in self.rig.interfaces.glob(".*")]

    def clean(self):
        remove_link()
        for directory in (self.rig.interfaces, ACTIVE / self._namespace):
            for path in directory.glob("eth*"):
                path.unlink()
        for family, source, table in self._rules():
            ip("-n", self._namespace, family, "rule", "del", "from", source, "table", table)

    def _plug(self, marker):
        return self.agent.post(self._versions[marker].path, self._versions[marker].body)

    def _stored(self):
        paths = list(self.rig.interfaces.glob("eth*"))
        if len(paths) != 1:
            return [path.read_text() for path in paths] or None
        document = stored_document(paths[0])
        return document["mtu"], frozenset(document["addresses"])

    def _held(self):
        outside = [link for link in ip("link", "show") if link.get("address") == MAC]
        if outside:
            is_bare = (outside[0]["ifname"], "UP" in outside[0]["flags"]) == (LINK, False)
            return None if is_bare else outside
        (link,) = [each for each in self._ip("addr", "show") if each.get("address") == MAC]
        addresses = {
            f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"] if each["scope"] == "global"
        }
        rules = frozenset((source, table) for _, source, table in self._rules())
        is_up = link["mtu"] if "UP" in link["flags"] else "down"
        return Held(is_up, frozenset(addresses), self._routes(link["ifname"]), rules)

    def _routes(self, name):
        return frozenset(
            (route["dst"], route.get("gateway"), route.get("table", "main"))
            for family in ("-4", "-6")
            for route in self._ip(family, "route", "show", "dev", name, "table", "all")
            if route.get("protocol") == "static"
        )

    def _rules(self):
        return [
            (family, rule["src"], rule["table"])
            for family in ("-4", "-6")
            for rule in self._ip(family, "rule", "show")
            if rule["src"] != "all"
        ]

    def _ip(self, *arguments):
        return ip("-n", self._namespace, *arguments)
