# SPDX-License-Identifier: Apache-2.0
"""Counters of the kernel for each virtual service.

``/proc/net/ip_vs`` has no counters, and ``/proc/net/ip_vs_stats`` only those of all services together. So
they are read as ipvsadm(8) does, over generic netlink (``linux/ip_vs.h``).
"""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from amphora.lvs.ipvs_table import Endpoint, VirtualService
from amphora.system.netlink import attributes, dump

LOG = logging.getLogger(__name__)

_FAMILY, _VERSION, _GET_SERVICE = "IPVS", 1, 4

#: First level of attributes.
_SERVICE = 1
#: Attributes of a service.
_ADDRESS_FAMILY, _PROTOCOL, _ADDRESS, _PORT, _STATISTICS, _STATISTICS_64 = 1, 2, 3, 4, 10, 12
#: Attributes of statistics. Connections have 32 bits in the older set, bytes have 64 in both.
_CONNECTIONS, _IN_BYTES, _OUT_BYTES = 1, 4, 5

_PROTOCOLS = {socket.IPPROTO_TCP: "TCP", socket.IPPROTO_UDP: "UDP", 132: "SCTP"}
_SHORT = struct.Struct("=H")
_NETWORK_SHORT = struct.Struct("!H")


@dataclass(frozen=True, slots=True)
class IpvsCounters:
    """Since the service was made known to the kernel.

    :ivar received: bytes from clients.
    :ivar sent: bytes to clients.
    """

    connections: int = 0
    received: int = 0
    sent: int = 0

    def __add__(self, other: IpvsCounters) -> IpvsCounters:
        return IpvsCounters(
            self.connections + other.connections, self.received + other.received, self.sent + other.sent
        )


def read_counters() -> dict[VirtualService, IpvsCounters]:
    """Return the counters of every service in the calling thread's namespace; none without IPVS.

    :raises OperationFailed: the kernel has IPVS and returned an error.
    """
    return parse_services(dump(_FAMILY, _VERSION, _GET_SERVICE) or ())


def parse_services(contents: Iterable[bytes]) -> dict[VirtualService, IpvsCounters]:
    """Read the messages of a dump of services; those of another form are skipped."""
    found = {}
    for content in contents:
        try:
            service, counters = _service(content)
        except (ValueError, KeyError, struct.error) as error:
            # A service by firewall mark has neither address nor port.
            LOG.debug("a virtual service is skipped: %r", error)
            continue
        found[service] = counters
    return found


def _service(content: bytes) -> tuple[VirtualService, IpvsCounters]:
    fields = attributes(attributes(content)[_SERVICE])
    (family,) = _SHORT.unpack(fields[_ADDRESS_FAMILY])
    (protocol,) = _SHORT.unpack(fields[_PROTOCOL])
    (port,) = _NETWORK_SHORT.unpack(fields[_PORT])
    raw = fields[_ADDRESS]
    # Sixteen bytes for either family.
    address = IPv6Address(raw) if family == socket.AF_INET6 else IPv4Address(raw[:4])
    statistics = attributes(fields[_STATISTICS_64] if _STATISTICS_64 in fields else fields[_STATISTICS])
    return (
        VirtualService(_PROTOCOLS[protocol], Endpoint(address, port)),
        IpvsCounters(
            _number(statistics[_CONNECTIONS]), _number(statistics[_IN_BYTES]), _number(statistics[_OUT_BYTES])
        ),
    )


def _number(raw: bytes) -> int:
    return int(struct.unpack("=Q" if len(raw) == struct.calcsize("=Q") else "=I", raw)[0])
