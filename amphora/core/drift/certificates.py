# SPDX-License-Identifier: Apache-2.0
"""Drift of certificates: those that are stored against those that a running haproxy shows to its clients.

Seeing a certificate costs haproxy a handshake. So each file is tried at each of its binds once, and again
only when the file or the worker is another one or :data:`_VALID_FOR` has passed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path

from amphora.core.drift.configurations import Configurations
from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.errors import ControlSocketError, InvalidConfiguration, OperationFailed
from amphora.haproxy.control.stats import StatsSocket
from amphora.haproxy.reading.addresses import EndpointKind
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.configuration import Configuration, parse
from amphora.haproxy.reading.served_certificates import CertificateIndex, ServedCertificate
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files, namespaces, processes
from amphora.system.addresses import addresses_in
from amphora.system.served_certificate import PROXY_LOCAL, served_certificate, unverified_context

_SOCKET_TIMEOUT = 1.0
_HANDSHAKE_TIMEOUT = 1.0
#: Seconds by which a worker's start is known.
_CLOCK_MARGIN = 2.0
#: Handshakes with one instance in one inspection.
_MOST_HANDSHAKES = 32
#: Seconds for which a certificate that was seen counts as served, while neither file nor worker changes.
_VALID_FOR = 600.0

_Place = tuple[str, int]
_Seen = tuple[str, Path, str, _Place, int]


class CertificateInspector:
    """Compares files with what a TLS handshake in the data namespace shows.

    What listens on an address that is not here, as a VIP on the standby of a pair, cannot be reached and is
    passed over.

    :param namespace: network namespace of tenant traffic.
    """

    group = "certificates"
    areas = frozenset({DriftArea.CERTIFICATES})

    def __init__(
        self,
        configurations: Configurations,
        catalog: WorkloadCatalog,
        namespace: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._configurations = configurations
        self._catalog = catalog
        self._namespace = namespace
        self._clock = clock
        self._seen: dict[_Seen, float] = {}
        self._paths: dict[str, Path] = {}

    def targets(self) -> list[str]:
        """Return the ids of all instances."""
        return [instance.id for instance in self._catalog.haproxies()]

    def inspect(self, target: str) -> list[Difference]:
        """Compare the certificates of one instance."""
        instance = self._catalog.haproxy(target)
        layout = instance.files
        data = files.read_if_present(layout.running)
        if data is None or instance.status().state is not ServiceState.RUNNING:
            return []
        try:
            configuration = parse(data)
            pid = StatsSocket(layout.answering_socket(), _SOCKET_TIMEOUT).worker_pid()
        except (ControlSocketError, InvalidConfiguration):
            # Both are drift of the configuration, and reported as such.
            return []
        tls = [bind for bind in _binds(configuration) if bind.ssl and not bind.namespace]
        index = CertificateIndex(configuration)
        paths = self._files(target, tls, index)
        self._paths |= {_subject(path): path for path in paths}
        by_file = [found for path in paths if (found := self._of_file(layout, path)) is not None]
        known = {each.subject for each in by_file}
        shown = self._of_handshakes(layout, tls, index, pid)
        return [*by_file, *(each for each in shown if each.subject not in known)]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Reload, so that what is stored is what is served; not while an upload waits for its reload."""
        instance = self._catalog.haproxy(target)
        if self._configurations.is_pending(instance):
            return ""
        done = str(instance.reload())
        for each in differences:
            # What was there before is not known any more.
            self._configurations.baseline.adopt(target, self._paths[each.subject])
        return done

    def _files(self, target: str, binds: Sequence[Bind], index: CertificateIndex) -> list[Path]:
        found = {path for bind in binds for path in index.files(bind)}
        # Neither a directory nor a bundle shows what has been removed from it.
        named = {path for bind in binds for path in index.named(bind)}
        removed = self._configurations.baseline.removed(target)
        gone = (path for path in removed if {path.parent, path.with_suffix("")} & named)
        return sorted(found.union(gone))

    def _of_file(self, layout: HaproxyFiles, path: Path) -> Difference | None:
        strange = self._configurations.baseline.modified_externally(layout.id, path)
        if path.is_file():
            if not strange:
                return None
            changed = digest_of(files.read_if_present(path))
            return _certificate(path, DriftReason.CERTIFICATE_REPLACED, "as the agent stored it", changed)
        # One that was deleted by the API is as its controller wants it, once the worker is another.
        reason = DriftReason.CERTIFICATE_MISSING if strange else DriftReason.PENDING_RELOAD
        return _certificate(path, reason, "stored" if strange else ABSENT, ABSENT)

    def _of_handshakes(
        self, layout: HaproxyFiles, binds: Sequence[Bind], index: CertificateIndex, pid: int
    ) -> list[Difference]:
        known = [(bind, index.served(bind)) for bind in binds]
        found: dict[Path, Difference] = {}
        budget = _MOST_HANDSHAKES
        here = self._addresses() if any(stored for _, stored in known) else frozenset()
        for bind, stored in known:
            for place in _places(bind, here):
                for each in self._to_see(layout, stored, place, pid)[:budget]:
                    budget -= 1
                    shown = self._shown(bind, place, each.server_name)
                    if shown is None or each.explains(shown, stored):
                        self._seen[self._key(layout, each, place, pid)] = self._clock()
                    else:
                        found[each.path] = self._difference(each, shown, pid)
        self._forget_old()
        return list(found.values())

    def _to_see(
        self, layout: HaproxyFiles, stored: Sequence[ServedCertificate], place: _Place, pid: int
    ) -> list[ServedCertificate]:
        unseen = [each for each in stored if self._key(layout, each, place, pid) not in self._seen]
        # What is younger than the worker first: hardly anything else can differ.
        return sorted(unseen, key=lambda each: -each.modified)

    def _key(self, layout: HaproxyFiles, each: ServedCertificate, place: _Place, pid: int) -> _Seen:
        return layout.id, each.path, each.fingerprint, place, pid

    def _shown(self, bind: Bind, place: _Place, server_name: str | None) -> str | None:
        """Return the fingerprint of what is shown there, or None where a stranger may see nothing."""
        address, port = place

        def look() -> bytes:
            return served_certificate(
                address,
                port,
                _HANDSHAKE_TIMEOUT,
                unverified_context(),
                server_name=server_name,
                preamble=PROXY_LOCAL if "accept-proxy" in bind.keywords else b"",
            )

        try:
            return sha256(namespaces.call_inside(self._namespace, look)).hexdigest()
        except (OperationFailed, OSError, ValueError):
            return None

    def _difference(self, each: ServedCertificate, shown: str, pid: int) -> Difference:
        process = processes.identify(pid)
        modified = datetime.fromtimestamp(each.modified, UTC)
        if process and (process.started_at() - modified).total_seconds() < _CLOCK_MARGIN:
            reason = DriftReason.PENDING_RELOAD
        else:
            reason = DriftReason.CERTIFICATE_NOT_SERVED
        return _certificate(each.path, reason, f"sha256:{each.fingerprint[:16]}", f"sha256:{shown[:16]}")

    def _addresses(self) -> frozenset[str]:
        return frozenset(str(held.address.ip) for held in addresses_in(self._namespace))

    def _forget_old(self) -> None:
        oldest = self._clock() - _VALID_FOR
        self._seen = {key: at for key, at in self._seen.items() if at > oldest}


def _binds(configuration: Configuration) -> Iterator[Bind]:
    for frontend in configuration.frontends:
        if not frontend.disabled:
            yield from frontend.binds


def _places(bind: Bind, here: frozenset[str]) -> list[_Place]:
    """Return where a bind can be reached from here; of a range of ports, the first."""
    places = []
    for endpoint in bind.endpoints:
        if endpoint.kind is EndpointKind.TCP and endpoint.host is not None and endpoint.ports:
            host = str(endpoint.host)
            if endpoint.host.is_unspecified:
                host = "127.0.0.1" if endpoint.host.version == 4 else "::1"
            if host in here or ip_address(host).is_loopback:
                places.append((host, endpoint.ports[0]))
    return places


def _certificate(path: Path, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CERTIFICATES, _subject(path), reason, desired, found)


def _subject(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
