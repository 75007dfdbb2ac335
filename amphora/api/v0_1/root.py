# SPDX-License-Identifier: Apache-2.0
"""Version 0.1 of the API ("Octavia HAProxy Amphora API")."""

from __future__ import annotations

from webob import Request

from amphora.api.agent_certificate import AgentCertificateController
from amphora.api.interfaces import InterfaceController
from amphora.api.resource import Branch, Resource
from amphora.api.v0_1.listeners import ListenersController
from amphora.api.v0_1.network import plug_branch
from amphora.api.v0_1.node import DetailsController, InfoController
from amphora.api.v0_1.topology import TopologyController
from amphora.api.v0_1.vrrp import vrrp_branch
from amphora.api.v1_0.agent_configuration import AgentConfigurationController
from amphora.core.services import CoreServices


class VersionController(Resource):
    """``/v0.1`` and ``/0.5``: the same tree.

    :param is_legacy: whether it is for Octavia's controllers of old. They upload certificates before the
        configuration that uses them, lists and authorities by the same way, UDP listeners, and the agent's
        own configuration.
    """

    def __init__(self, core: CoreServices, *, is_legacy: bool = False) -> None:
        self._topology = core.topology
        self._children: dict[str, Resource] = {
            "info": InfoController(core.node),
            "details": DetailsController(core.node, core.topology),
            "topology": TopologyController(core.topology, core.node),
            "plug": plug_branch(core.plug),
            "interface": Branch(lambda address: InterfaceController(core.plug, address)),
            "vrrp": vrrp_branch(core.vrrp),
            "certificate": AgentCertificateController(core.agent_certificate),
            "listeners": ListenersController(core, is_legacy),
        }
        if is_legacy:
            self._children["config"] = AgentConfigurationController(core.agent_configuration)

    def admit(self, request: Request) -> None:
        """Refuse every change while the topology is changing.

        :raises TopologyTransition: it is.
        """
        if request.method != "GET":
            self._topology.refuse_during_change()

    def child(self, segment: str) -> Resource | None:
        """Return the resource of this name."""
        return self._children.get(segment)
