# SPDX-License-Identifier: Apache-2.0
"""Finds bind addresses that haproxy would fail to bind.

``haproxy -c`` binds nothing. A reload that fails to bind is refused only after two seconds in which
healthy frontends refuse connections too (measured on 2.6), and a bind shared by accident with another
haproxy is not refused at all: haproxy sets SO_REUSEPORT, so both would silently get some of the
connections. Hence each address is bound here for an instant with SO_REUSEADDR alone, which fails
beside any listener and disturbs none.
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import time
from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from amphora.haproxy.preflight.findings import Finding, Severity
from amphora.haproxy.reading.addresses import Endpoint, EndpointKind, unmapped
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.configuration import Configuration
from amphora.models import IPAddress
from amphora.system import namespaces, sockets
from amphora.system.processes import identify
from amphora.system.sockets import ListeningSocket, Transport, UnixListener, inodes_at, unix_listeners

#: More would say the same.
_MOST_FINDINGS = 100

#: linux/in.h, linux/in6.h; the socket module has neither.
_IP_FREEBIND, _IPV6_FREEBIND = 15, 78
#: Bytes of sun_path (unix(7)) after the NUL that begins an abstract name.
_ABSTRACT_NAME_SIZE = 107

_TRANSPORTS = {EndpointKind.TCP: Transport.TCP, EndpointKind.UDP: Transport.UDP}
#: Errors that haproxy would get as well. Others are local to this probe and ignored.
_REASONS = {
    errno.EADDRNOTAVAIL: "no interface has this address, and binding to foreign addresses is off",
    errno.EACCES: "permission denied; ports below 1024 need privileges",
    errno.EPERM: "permission denied",
    errno.EAFNOSUPPORT: "this address family is switched off",
    errno.EINVAL: "the address cannot be bound; a link-local one needs an interface",
}


def bind_findings(
    configuration: Configuration,
    namespace: str,
    owner_pids: Collection[int],
    *,
    local_peer: str = "",
    time_limit: float = 5.0,
) -> tuple[Finding, ...]:
    """Return the binds that a process with this configuration would fail to bind; safe to repeat.

    Addresses that only haproxy can resolve are skipped. An empty answer is no promise: what is
    free now can be taken a moment later.

    :param namespace: network namespace that the process runs in.
    :param owner_pids: master and workers that run already; what they listen on is handed over.
    :param local_peer: the name given to haproxy with ``-L``.
    :param time_limit: seconds; what is left then is skipped. A probe takes about 10 µs.
    :raises OperationFailed: the namespace cannot be entered.
    """
    probe = _Probe(frozenset(owner_pids), configuration.reuse_port, time.monotonic() + time_limit)
    binds = list(configuration.listening(local_peer))
    return namespaces.call_inside(
        namespace, lambda: tuple(itertools.islice(probe.findings(binds), _MOST_FINDINGS))
    )


class _Probe:
    def __init__(self, owner_pids: frozenset[int], reuse_port: bool, deadline: float) -> None:
        self._owner_pids = owner_pids
        self._reuse_port = reuse_port
        self._deadline = deadline
        self._tables: dict[Transport, dict[int, list[ListeningSocket]]] = {}
        self._wanted: frozenset[range] = frozenset()
        self._own: frozenset[int] | None = None
        self._unix: tuple[UnixListener, ...] | None = None
        self._seen: dict[tuple[EndpointKind, int, str], list[IPAddress]] = {}

    def findings(self, binds: list[Bind]) -> Iterator[Finding]:
        self._wanted = frozenset(endpoint.ports for bind in binds for endpoint in bind.endpoints)
        for bind in binds:
            # A bind in a namespace of its own cannot be probed from here.
            for endpoint in () if bind.namespace else bind.endpoints:
                yield from self._endpoint_findings(bind, endpoint)

    def _endpoint_findings(self, bind: Bind, endpoint: Endpoint) -> Iterator[Finding]:
        if endpoint.kind in (EndpointKind.UNIX, EndpointKind.ABSTRACT):
            if reason := self._unix_reason(endpoint):
                yield _finding(bind, endpoint.text, reason)
        elif endpoint.host is not None:
            for port in endpoint.ports:
                if time.monotonic() > self._deadline:
                    return
                if reason := self._port_reason(bind, endpoint.kind, endpoint.host, port):
                    yield _finding(bind, _name(endpoint, port), reason)

    def _port_reason(self, bind: Bind, kind: EndpointKind, host: IPAddress, port: int) -> str | None:
        if not self._reuse_port and self._is_repeated(bind, kind, host, port):
            return "bound twice, which noreuseport forbids"
        try:
            _try_to_bind(bind, kind, host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return self._holder_reason(bind, kind, host, port)
            if error.errno == errno.ENODEV:
                return f"there is no interface {bind.interface}"
            return _REASONS.get(error.errno or 0)
        return None

    def _is_repeated(self, bind: Bind, kind: EndpointKind, host: IPAddress, port: int) -> bool:
        former = self._seen.setdefault((kind, port, bind.interface), [])
        hosts = [unmapped(host), IPv4Address(0)] if _is_dual(bind, host) else [unmapped(host)]
        repeated = any(_overlap(one, other) for one in hosts for other in former)
        former.extend(hosts)
        return repeated

    def _holder_reason(self, bind: Bind, kind: EndpointKind, host: IPAddress, port: int) -> str | None:
        same_port, host = self._listening(_TRANSPORTS[kind]).get(port, []), unmapped(host)
        dual = _is_dual(bind, host)
        holding = [s for s in same_port if _overlap(host, s.address) or (dual and s.address.version == 4)]
        if not holding:
            # An IPv6 socket may hold the IPv4 port as well; the table does not show which ones do.
            holding = [s for s in same_port if host.version == 4 and s.address == IPv6Address(0)]
        inodes = {listener.inode for listener in holding}
        foreign = inodes - self._own_inodes()
        if inodes and not foreign:
            return None
        holder = sockets.find_holder(foreign)
        return f"in use by {holder.name} (pid {holder.pid})" if holder else "in use by another process"

    def _own_inodes(self) -> frozenset[int]:
        """Return the sockets that are handed over, of those in question.

        Listeners are among the first files of a process, before its connections, so that looking for
        those in question alone usually ends early, however many connections there are.
        """
        if self._own is None:
            in_question = {
                listener.inode
                for transport in Transport
                for port, listeners in self._listening(transport).items()
                if any(port in ports for ports in self._wanted)
                for listener in listeners
            }
            held = (sockets.socket_inodes(pid, in_question) for pid in self._owner_pids)
            self._own = frozenset[int]().union(*held)
        return self._own

    def _listening(self, transport: Transport) -> dict[int, list[ListeningSocket]]:
        if transport not in self._tables:
            table = self._tables[transport] = {}
            for listener in sockets.listening_sockets(transport):
                table.setdefault(listener.port, []).append(listener)
        return self._tables[transport]

    def _unix_reason(self, endpoint: Endpoint) -> str | None:
        if endpoint.kind is EndpointKind.ABSTRACT:
            # haproxy fills the whole address with NULs, which count as part of the name.
            name = endpoint.path.encode()[:_ABSTRACT_NAME_SIZE].ljust(_ABSTRACT_NAME_SIZE, b"\0")
            held = [each.inode for each in self._unix_listeners() if each.abstract == name]
            return self._listener_reason(b"\0" + name, held)
        path = Path("/") / endpoint.path
        if not os.path.isdir(path.parent):
            return f"directory {path.parent} does not exist"
        if not os.access(path.parent, os.W_OK | os.X_OK, effective_ids=True):
            return f"directory {path.parent} is not writable"
        if os.path.isdir(path):
            return "it is a directory"
        return self._listener_reason(path, inodes_at(path, self._unix_listeners()))

    def _listener_reason(self, address: Path | bytes, inodes: Collection[int]) -> str | None:
        # Not by the process that called listen(2), which the kernel names to peers: from haproxy 3.1 on
        # that is the first worker, and those after it hold the same socket when it has long ended.
        newest_first = sorted(self._owner_pids, reverse=True)
        if any(sockets.holds_any(pid, inodes) for pid in newest_first):
            return None
        pid = sockets.unix_listener(address)
        if pid is None or pid in self._owner_pids:
            return None
        # haproxy would take the path away from the process that listens there.
        holder = sockets.find_holder(inodes)
        if holder is None and identify(pid) is not None:
            holder = sockets.SocketHolder(pid, sockets.process_name(pid))
        if holder is not None:
            return f"in use by {holder.name} (pid {holder.pid})"
        # Without the kernel's unix_diag the heir of a process that has ended is unknown; it may be ours.
        return None if pid and self._owner_pids else "in use by another process"

    def _unix_listeners(self) -> tuple[UnixListener, ...]:
        if self._unix is None:
            self._unix = unix_listeners() or ()
        return self._unix


def _finding(bind: Bind, address: str, reason: str) -> Finding:
    # What is taken now may be free by the time of a start.
    return Finding(bind.line, f"bind {address}", reason, Severity.REFUSES_START)


def _try_to_bind(bind: Bind, kind: EndpointKind, host: IPAddress, port: int) -> None:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    stream = kind is EndpointKind.TCP
    with socket.socket(family, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as probe:
        if stream:
            # Past connections in TIME_WAIT do not count. For UDP the option would share the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host.version == 6 and bind.v6only is not None:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bind.v6only))
        if bind.transparent and host.version == 6:
            probe.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
        elif bind.transparent:
            probe.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
        if bind.interface:
            name = bind.interface.encode() + b"\0"
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, name)
        probe.bind((str(host), port))


def _is_dual(bind: Bind, host: IPAddress) -> bool:
    """Whether a socket takes connections by IPv4 as well."""
    return host == IPv6Address(0) and not bind.v6only


def _overlap(one: IPAddress, other: IPAddress) -> bool:
    any_address = IPv4Address(0) if one.version == 4 else IPv6Address(0)
    return one.version == other.version and (one == other or any_address in (one, other))


def _name(endpoint: Endpoint, port: int) -> str:
    if len(endpoint.ports) == 1 or endpoint.host is None:
        return endpoint.text
    return f"[{endpoint.host}]:{port}" if endpoint.host.version == 6 else f"{endpoint.host}:{port}"
