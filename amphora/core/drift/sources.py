# SPDX-License-Identifier: Apache-2.0
"""What is compared to find drift, and by which inspectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID

from amphora.core.changes.journal import OperationState
from amphora.core.changes.locks import KEEPALIVED, InstanceLocks
from amphora.core.changes.operations import Operations
from amphora.core.drift.certificates import CertificateInspector
from amphora.core.drift.configs import ConfigInspector
from amphora.core.drift.configurations import AnyWorkload, Configurations
from amphora.core.drift.drift import Drift, DriftSettings
from amphora.core.drift.file_baseline import FileBaseline
from amphora.core.drift.network import InterfaceInspector, RulesInspector
from amphora.core.drift.services import ServiceInspector
from amphora.core.drift.vip import VipInspector
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.topology import TopologyManager
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.vrrp import VrrpWorkload
from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.network.base import NetworkDriver


class StoredWorkloads:
    """The workloads that are compared with their files, and where those are."""

    def __init__(self, catalog: WorkloadCatalog, vrrp: VrrpWorkload, cert_store: CertStore) -> None:
        self.catalog = catalog
        self.vrrp = vrrp
        self._cert_store = cert_store

    def all(self) -> Iterator[AnyWorkload]:
        """Yield every workload of which a configuration is stored."""
        yield from self.catalog.haproxies()
        yield from self.catalog.lvs_listeners()
        if self.vrrp.files.directory.is_dir():
            yield self.vrrp

    def with_remnants(self, baseline: FileBaseline) -> Iterator[AnyWorkload]:
        """Yield those too of which others have removed the configuration or the whole directory."""
        yield from self.all()
        yield from self.catalog.lvs_remnants()
        for instance in map(self.catalog.haproxy, filter(_is_uuid, baseline.names())):
            own = instance.files
            if not own.directory.exists() and own.stored in baseline.removed(instance.id):
                yield instance

    def directories(self, name: str) -> Sequence[Path]:
        """Return where the files of what has a lock are."""
        if name == KEEPALIVED:
            return (self.vrrp.files.directory,)
        if not _is_uuid(name):
            return ()
        listener = self.catalog.lvs(name).files
        if listener.exists:
            return listener.directory, listener.shared_directory
        return self.catalog.haproxy(name).files.directory, self._cert_store.directory(name)


def make_drift(
    settings: DriftSettings,
    workloads: StoredWorkloads,
    topology: TopologyManager,
    plug: Plug,
    rules: InterfaceRules,
    network: NetworkDriver,
    *,
    namespace: str,
    locks: InstanceLocks,
    operations: Operations,
) -> Drift:
    """Return what looks for drift; it begins when it is started.

    :param namespace: network namespace of tenant traffic.
    """
    baseline = FileBaseline(workloads.directories)
    configurations = Configurations(baseline)
    return Drift(
        (
            # Interfaces first: what listens on addresses needs them.
            InterfaceInspector(network, plug.recover),
            RulesInspector(rules),
            VipInspector(topology, network, workloads.vrrp, namespace, plug.recover),
            ServiceInspector(workloads.all, configurations.is_pending),
            ConfigInspector(lambda: workloads.with_remnants(baseline), configurations),
            CertificateInspector(configurations, workloads.catalog, namespace),
        ),
        locks,
        baseline,
        settings,
        under_way=lambda: {
            each.target for each in operations.all() if each.state is OperationState.UNDER_WAY
        },
    )


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
