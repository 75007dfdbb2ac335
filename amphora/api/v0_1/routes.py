# SPDX-License-Identifier: Apache-2.0
"""Version 0.1 of the API ("Octavia HAProxy Amphora API")."""

from __future__ import annotations

from collections.abc import Callable

from webob import Request

from amphora.api.routes import Branch, Table
from amphora.api.shared import SharedHandlers, no_haproxy_action
from amphora.api.v0_1.listeners import ListenerHandlers
from amphora.api.v0_1.network import NetworkHandlers
from amphora.api.v0_1.node import NodeHandlers
from amphora.api.v0_1.topology import TopologyHandlers
from amphora.api.v0_1.vrrp import VrrpHandlers
from amphora.api.v0_1.wording import WORDING
from amphora.core.services import CoreServices
from amphora.core.topology import TopologyManager


def version_0_1(core: CoreServices) -> Branch:
    """Return ``/v0.1``; it refuses every change while the topology is changing."""
    return Branch(routes(core, ListenerHandlers(core)), WORDING, admit=admit(core.topology))


def routes(core: CoreServices, listeners: ListenerHandlers) -> Table:
    """Return the routes below this version."""
    shared, node, topology = SharedHandlers(core), NodeHandlers(core), TopologyHandlers(core)
    network, vrrp = NetworkHandlers(core.plug), VrrpHandlers(core.vrrp)
    return {
        "info": {"GET": node.info},
        "details": {"GET": node.details},
        "topology": {"GET": topology.get, "POST": topology.change},
        "plug/vip/{ip}": {"POST": network.plug_vip},
        "plug/network": {"POST": network.plug_network},
        "interface/{ip}": {"GET": shared.interface},
        "vrrp/upload": {"PUT": vrrp.upload},
        "vrrp/{action}": {"PUT": vrrp.act},
        "certificate": {"PUT": shared.put_agent_certificate},
        "listeners": {"GET": listeners.all},
        "listeners/{listener}": {"GET": listeners.one, "DELETE": listeners.delete},
        "listeners/{listener}/haproxy": {"GET": listeners.configuration, "PUT": no_haproxy_action},
        "listeners/{listener}/{action}": {"PUT": listeners.act},
        "listeners/{amphora_id}/{listener}/haproxy": {"PUT": listeners.upload},
        "listeners/{listener}/certificates/{filename}": {
            "GET": listeners.certificate_digest,
            "PUT": listeners.put_certificate,
            "DELETE": listeners.delete_certificate,
        },
    }


def admit(topology: TopologyManager) -> Callable[[Request], None]:
    """Return the check that raises TopologyTransition for changes while the topology is changing."""

    def check(request: Request) -> None:
        if request.method != "GET":
            topology.refuse_during_change()

    return check
