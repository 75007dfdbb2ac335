# SPDX-License-Identifier: Apache-2.0
"""Version 1.0 of the API: what Octavia's controllers speak since API 0.5."""

from __future__ import annotations

from amphora.api.agent_certificate import AgentCertificateController
from amphora.api.resource import Branch, Resource
from amphora.api.v1_0.agent_configuration import AgentConfigurationController
from amphora.api.v1_0.interface_rules import RuledInterfaceController
from amphora.api.v1_0.listeners import ListenersController
from amphora.api.v1_0.load_balancers import LoadBalancerController
from amphora.api.v1_0.network import plug_branch
from amphora.api.v1_0.node import DetailsController, InfoController
from amphora.api.v1_0.vrrp import vrrp_branch
from amphora.core.services import CoreServices


class LoadBalancerVersionController(Resource):
    """``/1.0``: an instance is a load balancer, with all its listeners."""

    #: Controllers tell API versions apart by what is a 404.
    allows_trailing_slash = False

    def __init__(self, core: CoreServices) -> None:
        self._children: dict[str, Resource] = {
            "info": InfoController(core),
            "details": DetailsController(core),
            "listeners": ListenersController(core),
            "loadbalancer": Branch(lambda given_id: LoadBalancerController(core, given_id)),
            "plug": plug_branch(core.plug),
            "interface": Branch(
                lambda address: RuledInterfaceController(core.plug, core.interface_rules, address)
            ),
            "vrrp": vrrp_branch(core.vrrp),
            "certificate": AgentCertificateController(core.agent_certificate),
            "config": AgentConfigurationController(core.agent_configuration),
        }

    def child(self, segment: str) -> Resource | None:
        """Return the resource of this name."""
        return self._children.get(segment)
