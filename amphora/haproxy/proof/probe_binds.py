# SPDX-License-Identifier: Apache-2.0
"""Proves that a worker can be reached on every bind of its configuration.

Three looks, each at no more than needs it. The kernel tells which listening sockets a worker holds. Where
the address is one of this machine's a connection is asked for and given up before haproxy could notice
(:mod:`amphora.system.quiet_connect`). On each line with TLS one handshake is begun and left once the
certificate has come: haproxy counts no session, request, error or byte for it, only a connection
(``conn_tot`` of ``show stat``), and logs ``SSL handshake failure`` (all measured on 2.6).
"""

from __future__ import annotations

import errno
import time
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType

from amphora.haproxy.proof.probe_report import BindReach, ReachReport, Seen
from amphora.haproxy.reading.addresses import Endpoint, EndpointKind, unmapped
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.served_certificates import BindCertificates, CertificateIndex
from amphora.models import IPAddress
from amphora.system import namespaces, sockets, unix_sockets
from amphora.system.addresses import addresses_in
from amphora.system.quiet_connect import quiet_connect
from amphora.system.served_certificate import PROXY_LOCAL, looking_context, served_certificate
from amphora.system.sockets import Transport

_HANDSHAKES_AT_ONCE = 4
#: Seconds for one listener on this machine; one whose queue is full does not answer at all.
_CONNECT_TIMEOUT = 0.25
_HANDSHAKE_TIMEOUT = 2.0
_TRANSPORTS = {EndpointKind.TCP: Transport.TCP, EndpointKind.UDP: Transport.UDP}
_ANY = (IPv4Address(0), IPv6Address(0))
_LOOPBACK: Mapping[int, IPAddress] = MappingProxyType({4: IPv4Address("127.0.0.1"), 6: IPv6Address(1)})
_ABSTRACT_NAME_SIZE = 107


def reach(
    configuration: Configuration,
    worker_pids: Collection[int],
    *,
    namespace: str = "",
    local_peer: str = "",
    time_limit: float = 5.0,
) -> ReachReport:
    """Look at every bind from inside the namespace that haproxy runs in. Safe to repeat.

    Hundreds of binds take a few hundredths of a second, and each line with TLS about 3 ms more.

    :param worker_pids: those of the latest configuration.
    :param local_peer: the name given to haproxy with ``-L``.
    :param time_limit: seconds; addresses whose turn has not come by then are only looked up.
    :raises OperationFailed: the namespace cannot be entered, or the kernel did not tell its addresses.
    """
    held = frozenset(held.address.ip for held in addresses_in(namespace))
    looker = _Looker(configuration, frozenset(worker_pids), held, time.monotonic() + time_limit)
    return namespaces.call_inside(namespace, lambda: looker.look(local_peer))


def reach_seconds(configuration: Configuration) -> float:
    """Return the seconds to allow for :func:`reach`; it grows with the number of binds."""
    binds = list(configuration.listening())
    return 2.0 + 0.01 * len(binds) + 0.05 * sum(bind.ssl for bind in binds)


@dataclass(frozen=True, slots=True)
class _Target:
    """A line with TLS, and an address of it that is reached.

    :ivar position: of its entry in the report.
    """

    position: int
    frontend: str
    bind: Bind
    host: str
    port: int


class _Looker:
    def __init__(
        self,
        configuration: Configuration,
        workers: frozenset[int],
        held: frozenset[IPAddress],
        deadline: float,
    ) -> None:
        self._configuration = configuration
        self._workers = workers
        self._held = held
        self._deadline = deadline
        self._stored = CertificateIndex(configuration)
        self._context = looking_context()
        self._tables: dict[Transport, dict[tuple[IPAddress, int], set[int]]] = {}
        self._unix: tuple[unix_sockets.UnixListener, ...] | None = None
        self._owned: frozenset[int] = frozenset()
        self._sees_files = True
        self._streams: list[tuple[int, Endpoint]] = []
        self._handshakes: dict[str, int] = {}
        self._noticed: dict[str, int] = {}

    def look(self, local_peer: str) -> ReachReport:
        frontends = {bind.line: front.name for front in self._configuration.frontends for bind in front.binds}
        binds = list(self._configuration.listening(local_peer))
        self._streams = [(b.line, e) for b in binds for e in b.endpoints if e.kind is EndpointKind.TCP]
        self._read_tables(binds)
        results: list[BindReach] = []
        targets: dict[int, _Target] = {}
        for bind in binds:
            for endpoint in bind.endpoints:
                result, target = self._endpoint(bind, endpoint, frontends.get(bind.line, ""))
                if target and bind.ssl:
                    targets.setdefault(bind.line, replace(target, position=len(results)))
                results.append(result)
        # Where something is missing all is looked at again, so that handshakes can wait.
        if not any(result.failed for result in results):
            self._shake_hands(results, list(targets.values()))
        return ReachReport(
            tuple(results), MappingProxyType(self._handshakes), MappingProxyType(self._noticed)
        )

    def _read_tables(self, binds: list[Bind]) -> None:
        ports = {port for bind in binds for endpoint in bind.endpoints for port in endpoint.ports}
        for transport in Transport:
            table: dict[tuple[IPAddress, int], set[int]] = {}
            for listener in sockets.listening_sockets(transport):
                if listener.port in ports:
                    table.setdefault((listener.address, listener.port), set()).add(listener.inode)
            self._tables[transport] = table
        kinds = {endpoint.kind for bind in binds for endpoint in bind.endpoints}
        if kinds & {EndpointKind.UNIX, EndpointKind.ABSTRACT}:
            self._unix = unix_sockets.unix_listeners()
        wanted = {inode for table in self._tables.values() for found in table.values() for inode in found}
        wanted |= {listener.inode for listener in self._unix or ()}
        self._owned = frozenset[int]().union(*(sockets.socket_inodes(pid, wanted) for pid in self._workers))
        # Without the right to look into the worker, that somebody listens must do.
        self._sees_files = all(sockets.shows_files(pid) for pid in self._workers)

    def _endpoint(self, bind: Bind, endpoint: Endpoint, frontend: str) -> tuple[BindReach, _Target | None]:
        result = BindReach(bind.line, frontend, endpoint.text, Seen.UNKNOWN)
        if bind.namespace:
            return replace(result, note=f"it is in the network namespace {bind.namespace}"), None
        if endpoint.kind in (EndpointKind.UNIX, EndpointKind.ABSTRACT):
            return self._unix_socket(result, endpoint), None
        if endpoint.host is None:
            return replace(result, note="only haproxy knows the address"), None
        missing = [port for port in endpoint.ports if not self._holds(self._inodes(endpoint, port))]
        if missing:
            note = f"the worker does not listen on port {missing[0]}"
            return replace(result, seen=Seen.UNREACHED, note=note), None
        return self._connect(bind, endpoint, replace(result, seen=Seen.HELD))

    def _inodes(self, endpoint: Endpoint, port: int) -> set[int]:
        if endpoint.host is None:
            return set()
        table = self._tables[_TRANSPORTS[endpoint.kind]]
        return table.get((unmapped(endpoint.host), port), set())

    def _holds(self, inodes: Collection[int]) -> bool:
        return bool(self._owned.intersection(inodes) if self._sees_files else inodes)

    def _unix_socket(self, result: BindReach, endpoint: Endpoint) -> BindReach:
        # A connection would be one of a client's to haproxy; there is no quiet one.
        if self._unix is None:
            return replace(result, note="the kernel does not tell who listens on UNIX sockets")
        if endpoint.kind is EndpointKind.UNIX:
            found = unix_sockets.inodes_at(Path("/") / endpoint.path, self._unix)
        else:
            name = endpoint.path.encode()[:_ABSTRACT_NAME_SIZE]
            found = frozenset(s.inode for s in self._unix if (s.abstract or b"").rstrip(b"\0") == name)
        if self._holds(found):
            return replace(result, seen=Seen.HELD)
        return replace(result, seen=Seen.UNREACHED, note="the worker does not listen there")

    def _connect(self, bind: Bind, endpoint: Endpoint, result: BindReach) -> tuple[BindReach, _Target | None]:
        host = self._reachable(endpoint)
        if endpoint.kind is EndpointKind.UDP:
            return replace(result, note="UDP has no connections"), None
        if bind.interface not in ("", "lo"):
            return replace(result, note=f"it takes connections from {bind.interface} only"), None
        if host is None:
            return replace(result, note="this machine does not hold the address now"), None
        for port in sorted({endpoint.ports[0], endpoint.ports[-1]}):
            if time.monotonic() > self._deadline:
                return replace(result, note="there was no time to connect"), None
            answer = quiet_connect(host, port, _CONNECT_TIMEOUT)
            if answer.noticed:
                _count(self._noticed, result.frontend)
            if answer.error == errno.ECONNREFUSED:
                return replace(result, seen=Seen.UNREACHED, note=f"port {port} refuses connections"), None
            if not answer.reached:
                busy = answer.error == errno.ETIMEDOUT
                note = "its queue is full" if busy else f"no connection from here: {answer.reason}"
                return replace(result, note=note), None
        target = _Target(0, result.frontend, bind, host, endpoint.ports[0])
        return replace(result, seen=Seen.CONNECTED, note=self._sharing(endpoint)), target

    def _reachable(self, endpoint: Endpoint) -> str | None:
        """Return the address to connect to, or None where it would lead to another machine."""
        if endpoint.host is None:
            return None
        host = unmapped(endpoint.host)
        if host in _ANY:
            same = sorted((ip for ip in self._held if ip.version == host.version), key=int)
            loopback = _LOOPBACK[host.version]
            return str(loopback) if loopback in same else next((str(ip) for ip in same), None)
        return str(host) if host in self._held or host.is_loopback else None

    def _sharing(self, endpoint: Endpoint) -> str:
        inodes = self._inodes(endpoint, endpoint.ports[0])
        shared = inodes - self._owned if self._sees_files else None
        if not shared:
            return ""
        holder = sockets.find_holder(shared)
        who = f"{holder.name} (pid {holder.pid})" if holder else "another process"
        return f"{who} listens there as well and gets some of the connections"

    def _shake_hands(self, results: list[BindReach], targets: list[_Target]) -> None:
        if not targets:
            return
        # Threads begin in the namespace of the one that starts them.
        with ThreadPoolExecutor(_HANDSHAKES_AT_ONCE, thread_name_prefix="reach") as pool:
            for target, outcome in zip(targets, pool.map(self._certificate, targets), strict=True):
                seen, note = outcome
                former = results[target.position]
                notes = "; ".join(part for part in (former.note, note) if part)
                results[target.position] = replace(former, seen=seen, note=notes)
        for position, result in enumerate(results):
            # All addresses of a line share what it serves.
            if result.seen is Seen.CONNECTED and (looked_at := _of_line(targets, result.line)):
                results[position] = replace(result, seen=results[looked_at.position].seen)

    def _certificate(self, target: _Target) -> tuple[Seen, str]:
        bind = target.bind
        if time.monotonic() > self._deadline:
            return Seen.CONNECTED, "there was no time for a handshake"
        try:
            stored = self._stored.of(bind)
        except OSError as error:
            return Seen.CONNECTED, f"its certificates cannot be read: {error.strerror}"
        if stored is None:
            return Seen.CONNECTED, "only haproxy knows its certificate"
        if self._is_shared(target):
            return Seen.CONNECTED, "another bind line has the same address, so its certificate cannot be told"
        _count(self._handshakes, target.frontend)
        try:
            served = served_certificate(
                target.host,
                target.port,
                max(0.1, min(_HANDSHAKE_TIMEOUT, self._deadline - time.monotonic())),
                self._context,
                server_name=stored.name if "strict-sni" in bind.keywords else None,
                preamble=PROXY_LOCAL if "accept-proxy" in bind.keywords else b"",
            )
        except (OSError, ValueError) as error:
            return Seen.CONNECTED, f"the handshake brought no certificate: {error}"
        return _compared(sha256(served).hexdigest(), stored)

    def _is_shared(self, target: _Target) -> bool:
        """Whether the kernel may give a connection to the socket of another line."""
        return any(
            line != target.bind.line
            and target.port in endpoint.ports
            and (host in _ANY or str(host) == target.host)
            for line, endpoint in self._streams
            if endpoint.host is not None and (host := unmapped(endpoint.host))
        )


def _compared(served: str, stored: BindCertificates) -> tuple[Seen, str]:
    if served in stored.default:
        return Seen.CERTIFICATE, ""
    if served in stored.every:
        return Seen.CERTIFICATE, "not the first of its certificates"
    wanted = ", ".join(sorted(stored.default))
    return Seen.OTHER_CERTIFICATE, f"SHA-256 {served}; stored: {wanted}"


def _count(counters: dict[str, int], frontend: str) -> None:
    counters[frontend] = counters.get(frontend, 0) + 1


def _of_line(targets: list[_Target], line: int) -> _Target | None:
    return next((target for target in targets if target.bind.line == line), None)
