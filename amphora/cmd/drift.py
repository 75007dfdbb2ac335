# SPDX-License-Identifier: Apache-2.0
"""Builds what looks for drift."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from oslo_config import cfg

from amphora.core.changes.journal import OperationState
from amphora.core.changes.locks import KEEPALIVED, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.drift.certificates import CertificateInspector
from amphora.core.drift.configs import ConfigInspector, InstanceStore
from amphora.core.drift.drift import HEALING_GROUPS, Drift, DriftSettings
from amphora.core.drift.interfaces import InterfaceInspector
from amphora.core.drift.keepalived import KeepalivedInspector, WatchedKeepalived
from amphora.core.drift.ledger import Ledger
from amphora.core.drift.rules import RulesInspector
from amphora.core.drift.services import ServiceInspector, WatchedService
from amphora.core.drift.vip import VipHolders, VipInspector
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.topology import TopologyManager
from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceDirectory
from amphora.core.workloads.lvs_files import LvsDirectory, LvsLayout
from amphora.core.workloads.lvs_listeners import LvsListeners
from amphora.core.workloads.vrrp import Vrrp
from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.core.workloads.workload import Instances
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import VrrpNotConfigured
from amphora.keepalived.overlay import with_known_words
from amphora.models import ServiceState
from amphora.system import files


@dataclass(frozen=True, slots=True)
class DriftSources:
    """The parts of the core, and the drivers below them, that are compared with one another."""

    directory: InstanceDirectory
    vrrp_layout: VrrpLayout
    lvs_directory: LvsDirectory
    process_manager: ProcessManager
    network: NetworkDriver
    cert_store: CertStore
    engine: HaproxyEngine
    locks: InstanceLocks
    operations: Operations
    instances: Instances
    lvs: LvsListeners
    plug: Plug
    rules: InterfaceRules
    vrrp: Vrrp
    topology: TopologyManager


def drift_settings(conf: cfg.ConfigOpts) -> DriftSettings:
    """Return what is configured."""
    group = conf.drift
    healed = frozenset(name for name in HEALING_GROUPS if group[f"heal_{name}"] == "auto")
    return DriftSettings(float(group.interval), healed)


def make_drift(settings: DriftSettings, sources: DriftSources) -> Drift:
    """Return what looks for drift; it begins when it is started."""
    return _Builder(sources).build(settings)


class _Builder:
    def __init__(self, sources: DriftSources) -> None:
        self._sources = sources
        self._ledger = Ledger(self._directories)
        self._store = InstanceStore(
            sources.directory,
            self._ledger,
            lambda layout: sources.process_manager.status(layout.service_name).state,
            sources.engine.adapt,
        )

    def build(self, settings: DriftSettings) -> Drift:
        sources, namespace = self._sources, self._sources.engine.namespace
        holders = VipHolders(
            sources.topology, sources.network, sources.vrrp, sources.vrrp_layout, self._keepalived
        )
        return Drift(
            (
                # Interfaces first: what listens on addresses needs them.
                InterfaceInspector(sources.network, sources.plug.recover),
                RulesInspector(sources.rules),
                VipInspector(holders, namespace, sources.plug.recover),
                ServiceInspector(sources.process_manager, self._watched),
                ConfigInspector(self._store, sources.instances),
                KeepalivedInspector(self._keepaliveds, self._ledger),
                CertificateInspector(self._store, sources.instances, namespace),
            ),
            sources.locks,
            self._ledger,
            settings,
            under_way=self._under_way,
        )

    def _directories(self, name: str) -> Sequence[Path]:
        if name == KEEPALIVED:
            return (self._sources.vrrp_layout.directory,)
        if not _is_uuid(name):
            return ()
        lvs = self._sources.lvs_directory.layout(name)
        if lvs.exists:
            return lvs.directory, lvs.shared_directory
        layout = self._sources.directory.layout(name)
        return layout.directory, self._sources.cert_store.directory(name)

    def _keepalived(self) -> ServiceState:
        return self._sources.process_manager.status(self._sources.vrrp_layout.service_name).state

    def _watched(self) -> Iterator[WatchedService]:
        instances = self._sources.instances
        for layout in self._sources.directory.all():
            name = layout.instance_id
            yield WatchedService(
                target=name,
                name=layout.service_name,
                pid_file=layout.pid_file,
                argument=str(layout.running),
                start=lambda name=name: instances.start(name),  # type: ignore[misc]
                is_pending=lambda name=name: self._store.is_pending(name),  # type: ignore[misc]
            )
        yield from map(self._watched_lvs, self._sources.lvs_directory.all())
        vrrp = self._sources.vrrp_layout
        if vrrp.directory.is_dir():
            yield WatchedService(
                target=KEEPALIVED,
                name=vrrp.service_name,
                pid_file=vrrp.pid_file,
                argument=str(vrrp.overlay),
                start=self._sources.vrrp.start,
                is_pending=lambda: _is_pending(vrrp.proven, self._vrrp_configuration()),
            )

    def _watched_lvs(self, layout: LvsLayout) -> WatchedService:
        return WatchedService(
            target=layout.listener_id,
            name=layout.service_name,
            pid_file=layout.pid_files.main,
            argument=str(layout.pid_files.main),
            start=lambda: self._sources.lvs.start(layout.listener_id),
            is_pending=lambda: _is_pending(layout.proven, files.read_if_present(layout.stored)),
        )

    def _keepaliveds(self) -> Iterator[WatchedKeepalived]:
        vrrp, layout = self._sources.vrrp, self._sources.vrrp_layout
        if layout.directory.is_dir():
            yield WatchedKeepalived(
                target=KEEPALIVED,
                stored=layout.stored,
                running=layout.running,
                proven=layout.proven,
                configuration=self._vrrp_configuration,
                state=self._keepalived,
                upload=vrrp.upload,
                reload=vrrp.reload,
                as_run=with_known_words,
            )
        directory = self._sources.lvs_directory
        yield from map(self._keepalived_of_lvs, (*directory.all(), *directory.remnants()))

    def _keepalived_of_lvs(self, layout: LvsLayout) -> WatchedKeepalived:
        lvs, name = self._sources.lvs, layout.listener_id
        return WatchedKeepalived(
            target=name,
            stored=layout.stored,
            running=layout.running,
            proven=layout.proven,
            configuration=lambda: files.read_if_present(layout.stored),
            state=lambda: self._sources.process_manager.status(layout.service_name).state,
            upload=lambda data: lvs.upload(name, data),
            reload=lambda: lvs.reload(name),
        )

    def _vrrp_configuration(self) -> bytes | None:
        try:
            return self._sources.vrrp.configuration()
        except VrrpNotConfigured:
            return None

    def _under_way(self) -> Collection[str]:
        return {
            operation.target
            for operation in self._sources.operations.all()
            if operation.state is OperationState.UNDER_WAY
        }


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False


def _is_pending(proven: Path, configuration: bytes | None) -> bool:
    data = files.read_if_present(proven)
    return data is None or data != configuration
