# SPDX-License-Identifier: Apache-2.0
"""The one seam between network drivers and the kernel: rtnetlink(7), by pyroute2.

pyroute2 opens a socket for each thread that uses an object, in that thread's namespace. So an object
made in one namespace and used from another thread would silently change the wrong one. Here a
:class:`Kernel` lives and ends within one call inside its namespace: no thread ever has two,
no child process is needed to enter the namespace, and every descriptor is closed when the call ends.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, TypeVar

from amphora.errors import OperationFailed
from amphora.models import IPInterface, IPNetwork
from amphora.system import namespaces

IFF_UP = 0x1
IFA_F_NODAD = 0x02
IFA_F_PERMANENT = 0x80
RTN_UNICAST = 1
RTNH_F_ONLINK = 4
PROTOCOL_KERNEL = 2
PROTOCOL_STATIC = 4
TABLE_LOCAL = 255
SCOPE_UNIVERSE = 0
SCOPE_LINK = 253
#: What the kernel gives an IPv6 route that names no metric.
IPV6_METRIC = 1024

_FR_ACT_TO_TBL = 1
#: Set in replies when a table changed while it was read, so that something may be missing (netlink.h).
_NLM_F_DUMP_INTR = 0x10
#: A try takes milliseconds. Only reading can be interrupted, so no change is ever made twice.
_READ_TRIES = 50

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the kernel's table."""

    index: int
    name: str
    mac_address: str
    up: bool
    mtu: int


@dataclass(frozen=True, slots=True)
class Address:
    """An address of one link.

    :ivar flags: IFA_F_*.
    :ivar protocol: who put it there (IFAPROT_*), 0 if the kernel does not know.
    """

    interface: IPInterface
    flags: int = IFA_F_NODAD | IFA_F_PERMANENT
    scope: int = SCOPE_UNIVERSE
    protocol: int = 0
    broadcast: str | None = None


@dataclass(frozen=True, slots=True)
class LinkRoute:
    """A unicast route over one link, outside the kernel's own local table."""

    destination: IPNetwork
    gateway: str | None
    table: int
    preferred_source: str | None
    onlink: bool
    scope: int
    metric: int
    protocol: int = PROTOCOL_STATIC


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy rule that sends packets of one source to one table."""

    source: IPNetwork
    table: int
    priority: int
    protocol: int = PROTOCOL_STATIC


class Kernel:
    """What a network driver may read and change in the kernel, in the namespace of the calling thread.

    Every method raises :class:`OperationFailed` when the kernel refuses, and is one step: done or not.

    :param rtnetlink: an open ``pyroute2.IPRoute``.
    """

    def __init__(self, rtnetlink: Any) -> None:
        self._rtnetlink = rtnetlink

    def links(self) -> list[Link]:
        """Return all links."""
        return [_link(message) for message in self._ask("links cannot be read", "get_links")]

    def addresses(self, index: int) -> list[Address]:
        """Return the addresses of a link."""
        messages = self._ask("addresses cannot be read", "get_addr", index=index)
        return [_address(message) for message in messages]

    def routes(self, index: int) -> list[LinkRoute]:
        """Return the unicast routes over a link in all tables but the kernel's own local one."""
        routes = []
        for message in self._ask("routes cannot be read", "get_routes"):
            if message.get_attr("RTA_OIF") == index and message["type"] == RTN_UNICAST:
                routes.append(_route(message))
        return [route for route in routes if route.table != TABLE_LOCAL]

    def rules(self) -> list[Rule]:
        """Return the rules that name a source and a table and nothing else that is known here."""
        return [
            _rule(message)
            for family in (socket.AF_INET, socket.AF_INET6)
            for message in self._ask("rules cannot be read", "get_rules", family=family)
            if message.get_attr("FRA_SRC") and message["action"] == _FR_ACT_TO_TBL
        ]

    def move(self, index: int, namespace: str, name: str, new_index: int = 0) -> None:
        """Put a link into another namespace under a name; it arrives down and without addresses.

        :param namespace: its name; empty means that of the agent's process.
        :param new_index: its number there; 0 lets the kernel choose.
        """
        path = namespaces.NAMESPACE_DIRECTORY / namespace if namespace else Path("/proc/self/ns/net")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise OperationFailed(
                f"network namespace {namespace} cannot be opened: {error.strerror}"
            ) from error
        try:
            target = {"net_ns_fd": descriptor, "ifname": name} | (
                {"IFLA_NEW_IFINDEX": new_index} if new_index else {}
            )
            self._ask(f"link could not be moved to be {name}", "link", "set", index=index, **target)
        finally:
            os.close(descriptor)

    def rename(self, index: int, name: str) -> None:
        """Rename a link that is down."""
        self._ask(f"link could not be renamed to {name}", "link", "set", index=index, ifname=name)

    def set_up(self, index: int, up: bool) -> None:
        """Set a link up or down."""
        word = "up" if up else "down"
        self._ask(f"link could not be set {word}", "link", "set", index=index, state=word)

    def set_mtu(self, index: int, mtu: int) -> None:
        """Set the largest packet of a link, in bytes."""
        self._ask(f"MTU {mtu} could not be set", "link", "set", index=index, mtu=mtu)

    def change_address(self, verb: str, index: int, address: Address) -> None:
        """Change an address of a link.

        :param verb: ``replace`` puts it there, also if it came by itself as link-local ones do; or ``del``.
        """
        more: dict[str, Any] = {"broadcast": address.broadcast} if address.broadcast else {}
        if address.protocol:
            more["IFA_PROTO"] = address.protocol
        self._ask(
            f"address {address.interface} could not be {_DONE[verb]}",
            "addr",
            verb,
            index=index,
            address=str(address.interface.ip),
            prefixlen=address.interface.network.prefixlen,
            flags=address.flags & IFA_F_NODAD,
            scope=address.scope,
            **more,
        )

    def change_route(self, verb: str, index: int, route: LinkRoute) -> None:
        """Add (``add``) or delete (``del``) a route over a link."""
        optional = {"gateway": route.gateway, "prefsrc": route.preferred_source, "priority": route.metric}
        self._ask(
            f"route to {route.destination} in table {route.table} could not be {_DONE[verb]}",
            "route",
            verb,
            dst=str(route.destination),
            oif=index,
            table=route.table,
            scope=route.scope,
            proto=route.protocol,
            flags=RTNH_F_ONLINK if route.onlink else 0,
            **{key: value for key, value in optional.items() if value},
        )

    def change_rule(self, verb: str, rule: Rule) -> None:
        """Add (``add``) or delete (``del``) a policy rule."""
        self._ask(
            f"rule from {rule.source} to table {rule.table} could not be {_DONE[verb]}",
            "rule",
            verb,
            family=socket.AF_INET if rule.source.version == 4 else socket.AF_INET6,
            src=str(rule.source.network_address),
            src_len=rule.source.prefixlen,
            table=rule.table,
            priority=rule.priority,
            FRA_PROTOCOL=rule.protocol,
        )

    def set_sysctl(self, key: str, value: str) -> None:
        """Write a value below ``/proc/sys``."""
        namespaces.write_sysctls({key: value})

    def _ask(self, failure: str, method: str, *arguments: str, **options: Any) -> list[Any]:
        from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError

        for _ in range(_READ_TRIES):
            try:
                messages = list(getattr(self._rtnetlink, method)(*arguments, **options) or ())
            except NetlinkDumpInterrupted:  # pyroute2 0.8; 0.9 leaves it to the flag
                continue
            except NetlinkError as error:
                raise OperationFailed(f"{failure}: {os.strerror(error.code)}") from error
            except OSError as error:
                raise OperationFailed(f"{failure}: {os.strerror(error.errno or errno.EIO)}") from error
            if not any(message["header"]["flags"] & _NLM_F_DUMP_INTR for message in messages):
                return messages
        raise OperationFailed(f"{failure}: the kernel's table changed during each of {_READ_TRIES} tries")


class KernelAccess:
    """Lets drivers work with the kernel in a namespace; tests give one that fails on purpose."""

    def inside(self, namespace: str, work: Callable[[Kernel], _T]) -> _T:
        """Return what ``work`` returns when called inside a namespace with its kernel.

        :param namespace: empty means that of the agent's process.
        :raises OperationFailed: the namespace cannot be entered, or as ``work`` does.
        """
        return namespaces.call_inside(namespace, lambda: self._call(work))

    def _call(self, work: Callable[[Kernel], _T]) -> _T:
        # 23 MB and 0.1 s that an agent which never plugs does not pay.
        from pyroute2.iproute import IPRoute

        with IPRoute() as rtnetlink:
            return work(self.wrap(Kernel(rtnetlink)))

    def wrap(self, kernel: Kernel) -> Kernel:
        """Return the kernel that ``work`` gets; tests inject faults here."""
        return kernel


_DONE = {"add": "added", "replace": "added", "del": "deleted"}


def _link(message: Any) -> Link:
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        mac_address=(message.get_attr("IFLA_ADDRESS") or "").lower(),
        up=bool(message["flags"] & IFF_UP),
        mtu=message.get_attr("IFLA_MTU") or 0,
    )


def _address(message: Any) -> Address:
    # For IPv4 IFA_LOCAL is the address and IFA_ADDRESS the peer's; IPv6 has the latter only.
    text = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
    flags = message.get_attr("IFA_FLAGS")
    return Address(
        interface=ip_interface((text, message["prefixlen"])),
        flags=message["flags"] if flags is None else flags,
        scope=message["scope"],
        protocol=message.get_attr("IFA_PROTO") or 0,
        broadcast=message.get_attr("IFA_BROADCAST"),
    )


def _route(message: Any) -> LinkRoute:
    anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"  # noqa: S104 - a destination
    return LinkRoute(
        destination=ip_network((message.get_attr("RTA_DST") or anywhere, message["dst_len"])),
        gateway=message.get_attr("RTA_GATEWAY"),
        table=message.get_attr("RTA_TABLE") or message["table"],
        preferred_source=message.get_attr("RTA_PREFSRC"),
        onlink=bool(message["flags"] & RTNH_F_ONLINK),
        scope=message["scope"],
        metric=message.get_attr("RTA_PRIORITY") or 0,
        protocol=message["proto"],
    )


def _rule(message: Any) -> Rule:
    return Rule(
        source=ip_network((message.get_attr("FRA_SRC"), message["src_len"])),
        table=message.get_attr("FRA_TABLE") or message["table"],
        priority=message.get_attr("FRA_PRIORITY") or 0,
        protocol=message.get_attr("FRA_PROTOCOL") or 0,
    )
