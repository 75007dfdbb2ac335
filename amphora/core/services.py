# SPDX-License-Identifier: Apache-2.0
"""The use cases that an API can call, in one value."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.agent_certificate import AgentCertificate
from amphora.core.certificates import Certificates
from amphora.core.instance_status import StatusReader
from amphora.core.instances import Instances
from amphora.core.node import Node
from amphora.core.plug import Plug
from amphora.core.topology import TopologyManager
from amphora.core.vrrp import Vrrp


@dataclass(frozen=True, slots=True)
class CoreServices:
    """What the composition root builds and hands to the API."""

    instances: Instances
    status: StatusReader
    certificates: Certificates
    node: Node
    topology: TopologyManager
    vrrp: Vrrp
    plug: Plug
    agent_certificate: AgentCertificate
