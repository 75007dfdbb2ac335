# SPDX-License-Identifier: Apache-2.0
"""The use cases that an API can call, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.agent_files import AgentCertificate, AgentConfiguration
from amphora.core.changes.idempotency_store import IdempotencyStore
from amphora.core.changes.operations import Operations
from amphora.core.drift.drift import Drift
from amphora.core.network.interface_rules import InterfaceRules
from amphora.core.network.plug import Plug
from amphora.core.node import Node
from amphora.core.topology import TopologyManager
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.certificates import Certificates
from amphora.core.workloads.haproxy_processes import ProcessReader
from amphora.core.workloads.status import StatusReader
from amphora.core.workloads.vrrp import VrrpWorkload


@dataclass(frozen=True, slots=True)
class CoreServices:
    """What the composition root builds and hands to the API."""

    workloads: WorkloadCatalog
    status: StatusReader
    processes: ProcessReader
    certificates: Certificates
    node: Node
    topology: TopologyManager
    vrrp: VrrpWorkload
    plug: Plug
    interface_rules: InterfaceRules
    agent_certificate: AgentCertificate
    agent_configuration: AgentConfiguration
    operations: Operations
    drift: Drift
    idempotency_store: IdempotencyStore
