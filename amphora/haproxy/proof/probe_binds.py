# SPDX-License-Identifier: Apache-2.0
"""Probes whether a worker serves every bind address of its configuration.

In three steps. The kernel lists the listening sockets that a worker holds. If the address is one of this
machine's, a connection is opened and aborted before haproxy can notice it
(:mod:`amphora.system.quiet_connect`).
On each line with TLS one handshake is begun and aborted once the certificate has arrived: haproxy counts no
session, request, error or byte for it, only a connection (``conn_tot`` of ``show stat``), and logs ``SSL
handshake failure`` (all measured on 2.6).
"""

from __future__ import annotations

import errno
import time
from collections import Counter
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from types import MappingProxyType

from amphora.haproxy.proof.prove import BindProbe, ProbeReport, ProbeResult
from amphora.haproxy.reading.addresses import Endpoint, EndpointKind, unmapped
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.served_certificates import BindCertificates, CertificateIndex
from amphora.models import IPAddress
from amphora.system import namespaces, sockets
from amphora.system.addresses import addresses_in
from amphora.system.quiet_connect import quiet_connect
from amphora.system.served_certificate import PROXY_LOCAL, served_certificate, unverified_context
from amphora.system.sockets import Transport

_HANDSHAKES_AT_ONCE = 4
#: Seconds; a listener whose queue is full does not answer at all.
_CONNECT_TIMEOUT = 0.25
_HANDSHAKE_TIMEOUT = 2.0
_TRANSPORTS = {EndpointKind.TCP: Transport.TCP, EndpointKind.UDP: Transport.UDP}
_ANY = (IPv4Address(0), IPv6Address(0))
_LOOPBACK: Mapping[int, IPAddress] = MappingProxyType({4: IPv4Address("127.0.0.1"), 6: IPv6Address(1)})
_ABSTRACT_NAME_SIZE = 107


def probe_binds(
    configuration: Configuration,
    worker_pids: Collection[int],
    *,
    namespace: str = "",
    local_peer: str = "",
    time_limit: float = 5.0,
) -> ProbeReport:
    """Probe every bind from inside the namespace that haproxy runs in. Safe to repeat.

    Hundreds of binds take a few hundredths of a second, and each line with TLS about 3 ms more.

    :param worker_pids: those of the latest configuration.
    :param local_peer: the name given to haproxy with ``-L``.
    :param time_limit: seconds; to addresses that remain then no connection is opened.
    :raises OperationFailed: the namespace cannot be entered, or its addresses cannot be read.
    """
    held = frozenset(held.address.ip for held in addresses_in(namespace))
    prober = _Prober(configuration, frozenset(worker_pids), held, time.monotonic() + time_limit)
    return namespaces.call_inside(namespace, lambda: prober.probe(local_peer))


def probe_seconds(configuration: Configuration) -> float:
    """Return the seconds to allow for :func:`probe_binds`; it grows with the number of binds."""
    binds = list(configuration.listening())
    return 2.0 + 0.01 * len(binds) + 0.05 * sum(bind.ssl for bind in binds)


@dataclass(frozen=True, slots=True)
class _Target:
    """A line with TLS, and an address of it that answers.

    :ivar position: of its entry in the report.
    """

    position: int
    frontend: str
    bind: Bind
    host: str
    port: int


class _Prober:
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
        self._context = unverified_context()
        self._tables: dict[Transport, dict[tuple[IPAddress, int], set[int]]] = {}
        self._unix: tuple[sockets.UnixListener, ...] | None = None
        self._owned: frozenset[int] = frozenset()
        self._sees_files = True
        self._streams: list[tuple[int, Endpoint]] = []
        self._handshakes = Counter[str]()
        self._noticed = Counter[str]()

    def probe(self, local_peer: str) -> ProbeReport:
        frontends = {bind.line: front.name for front in self._configuration.frontends for bind in front.binds}
        binds = list(self._configuration.listening(local_peer))
        self._streams = [(b.line, e) for b in binds for e in b.endpoints if e.kind is EndpointKind.TCP]
        self._read_tables(binds)
        results: list[BindProbe] = []
        targets: dict[int, _Target] = {}
        for bind in binds:
            for endpoint in bind.endpoints:
                probe, target = self._endpoint(bind, endpoint, frontends.get(bind.line, ""))
                if target and bind.ssl:
                    targets.setdefault(bind.line, replace(target, position=len(results)))
                results.append(probe)
        # If something is missing, all is probed again: handshakes can wait.
        if not any(probe.failed for probe in results):
            self._shake_hands(results, list(targets.values()))
        return ProbeReport(
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
            self._unix = sockets.unix_listeners()
        wanted = {inode for table in self._tables.values() for found in table.values() for inode in found}
        wanted |= {listener.inode for listener in self._unix or ()}
        self._owned = frozenset[int]().union(*(sockets.socket_inodes(pid, wanted) for pid in self._workers))
        # Without the permission to read the worker's descriptors, any listener counts.
        self._sees_files = all(sockets.shows_files(pid) for pid in self._workers)

    def _endpoint(self, bind: Bind, endpoint: Endpoint, frontend: str) -> tuple[BindProbe, _Target | None]:
        probe = BindProbe(bind.line, frontend, endpoint.text, ProbeResult.UNKNOWN)
        if bind.namespace:
            return replace(probe, note=f"it is in the network namespace {bind.namespace}"), None
        if endpoint.kind in (EndpointKind.UNIX, EndpointKind.ABSTRACT):
            return self._unix_socket(probe, endpoint), None
        if endpoint.host is None:
            return replace(probe, note="only haproxy knows the address"), None
        missing = [port for port in endpoint.ports if not self._holds(self._inodes(endpoint, port))]
        if missing:
            note = f"the worker does not listen on port {missing[0]}"
            return replace(probe, result=ProbeResult.UNREACHED, note=note), None
        return self._connect(bind, endpoint, replace(probe, result=ProbeResult.HELD))

    def _inodes(self, endpoint: Endpoint, port: int) -> set[int]:
        if endpoint.host is None:
            return set()
        table = self._tables[_TRANSPORTS[endpoint.kind]]
        return table.get((unmapped(endpoint.host), port), set())

    def _holds(self, inodes: Collection[int]) -> bool:
        return bool(self._owned.intersection(inodes) if self._sees_files else inodes)

    def _unix_socket(self, probe: BindProbe, endpoint: Endpoint) -> BindProbe:
        # haproxy would count a connection as a client's.
        if self._unix is None:
            return replace(probe, note="the kernel does not list listeners on UNIX sockets")
        if endpoint.kind is EndpointKind.UNIX:
            found = sockets.inodes_at(Path("/") / endpoint.path, self._unix)
        else:
            name = endpoint.path.encode()[:_ABSTRACT_NAME_SIZE]
            found = frozenset(s.inode for s in self._unix if (s.abstract or b"").rstrip(b"\0") == name)
        if self._holds(found):
            return replace(probe, result=ProbeResult.HELD)
        return replace(probe, result=ProbeResult.UNREACHED, note="the worker does not listen there")

    def _connect(self, bind: Bind, endpoint: Endpoint, probe: BindProbe) -> tuple[BindProbe, _Target | None]:
        host = self._reachable(endpoint)
        if endpoint.kind is EndpointKind.UDP:
            return replace(probe, note="UDP has no connections"), None
        if bind.interface not in ("", "lo"):
            return replace(probe, note=f"it takes connections from {bind.interface} only"), None
        if host is None:
            return replace(probe, note="this machine does not hold the address now"), None
        for port in sorted({endpoint.ports[0], endpoint.ports[-1]}):
            if time.monotonic() > self._deadline:
                return replace(probe, note="there was no time to connect"), None
            answer = quiet_connect(host, port, _CONNECT_TIMEOUT)
            if answer.noticed:
                self._noticed[probe.frontend] += 1
            if answer.error == errno.ECONNREFUSED:
                return replace(
                    probe, result=ProbeResult.UNREACHED, note=f"port {port} refuses connections"
                ), None
            if not answer.reached:
                busy = answer.error == errno.ETIMEDOUT
                note = "its queue is full" if busy else f"no connection from here: {answer.reason}"
                return replace(probe, note=note), None
        target = _Target(0, probe.frontend, bind, host, endpoint.ports[0])
        return replace(probe, result=ProbeResult.CONNECTED, note=self._sharing(endpoint)), target

    def _reachable(self, endpoint: Endpoint) -> str | None:
        """Return the address to connect to, or None if it would be another machine's."""
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

    def _shake_hands(self, results: list[BindProbe], targets: list[_Target]) -> None:
        if not targets:
            return
        # Threads begin in the namespace of the one that starts them.
        with ThreadPoolExecutor(_HANDSHAKES_AT_ONCE, thread_name_prefix="probe") as pool:
            for target, (result, note) in zip(targets, pool.map(self._certificate, targets), strict=True):
                former = results[target.position]
                notes = "; ".join(part for part in (former.note, note) if part)
                results[target.position] = replace(former, result=result, note=notes)
        by_line = {target.bind.line: results[target.position].result for target in targets}
        for position, probe in enumerate(results):
            # All addresses of a line serve the same certificates.
            if probe.result is ProbeResult.CONNECTED:
                results[position] = replace(probe, result=by_line.get(probe.line, probe.result))

    def _certificate(self, target: _Target) -> tuple[ProbeResult, str]:
        bind = target.bind
        if time.monotonic() > self._deadline:
            return ProbeResult.CONNECTED, "there was no time for a handshake"
        try:
            stored = self._stored.of(bind)
        except OSError as error:
            return ProbeResult.CONNECTED, f"its certificates cannot be read: {error.strerror}"
        if stored is None:
            return ProbeResult.CONNECTED, "only haproxy knows its certificate"
        if self._is_shared(target):
            return (
                ProbeResult.CONNECTED,
                "another bind line has the same address, so it may answer instead",
            )
        self._handshakes[target.frontend] += 1
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
            return ProbeResult.CONNECTED, f"the handshake brought no certificate: {error}"
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


def _compared(served: str, stored: BindCertificates) -> tuple[ProbeResult, str]:
    if served in stored.default:
        return ProbeResult.CERTIFICATE, ""
    if served in stored.every:
        return ProbeResult.CERTIFICATE, "not the first of its certificates"
    wanted = ", ".join(sorted(stored.default))
    return ProbeResult.OTHER_CERTIFICATE, f"SHA-256 {served}; stored: {wanted}"
