# SPDX-License-Identifier: Apache-2.0
"""The use cases that an API can call, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.agent_certificate import AgentCertificate
from amphora.core.agent_configuration import AgentConfiguration
from amphora.core.answered import Answered
from amphora.core.certificates import Certificates
from amphora.core.drift import Drift
from amphora.core.instance_processes import ProcessReader
from amphora.core.instance_status import StatusReader
from amphora.core.instances import Instances
from amphora.core.interface_rules import InterfaceRules
from amphora.core.lvs_listeners import LvsListeners
from amphora.core.lvs_status import LvsStatusReader
from amphora.core.node import Node
from amphora.core.objects import ServedObjects
from amphora.core.operations import Operations
from amphora.core.plug import Plug
from amphora.core.topology import TopologyManager
from amphora.core.vrrp import Vrrp


@dataclass(frozen=True, slots=True)
class CoreServices:
    """What the composition root builds and hands to the API."""

    instances: Instances
    status: StatusReader
    processes: ProcessReader
    lvs: LvsListeners
    lvs_status: LvsStatusReader
    objects: ServedObjects
    certificates: Certificates
    node: Node
    topology: TopologyManager
    vrrp: Vrrp
    plug: Plug
    interface_rules: InterfaceRules
    agent_certificate: AgentCertificate
    agent_configuration: AgentConfiguration
    operations: Operations
    drift: Drift
    answered: Answered
