# SPDX-License-Identifier: Apache-2.0
"""Version 1.0 of the API: what Octavia's controllers speak since API 0.5.

An instance is a load balancer with all its listeners. UDP and SCTP listeners share its routes for actions and
deletion.
"""

from __future__ import annotations

from amphora.api.routes import Branch, Table
from amphora.api.shared import SharedHandlers, no_haproxy_action
from amphora.api.v1_0.listeners import ListenerHandlers
from amphora.api.v1_0.load_balancers import LoadBalancerHandlers
from amphora.api.v1_0.network import NetworkHandlers
from amphora.api.v1_0.node import NodeHandlers
from amphora.api.v1_0.vrrp import VrrpHandlers
from amphora.api.v1_0.wording import WORDING
from amphora.core.services import CoreServices


def version_1_0(core: CoreServices) -> Branch:
    """Return ``/1.0``."""
    shared, node, vrrp = SharedHandlers(core), NodeHandlers(core), VrrpHandlers(core.vrrp)
    network = NetworkHandlers(core, shared)
    listeners, load_balancers = ListenerHandlers(core), LoadBalancerHandlers(core)
    table: Table = {
        "info": {"GET": node.info},
        "details": {"GET": node.details},
        "listeners": {"GET": listeners.all},
        # The id may be a load balancer's, in spite of the word.
        "listeners/{id}": {"DELETE": listeners.delete},
        "listeners/{id}/udp_listener": {"GET": listeners.udp_configuration},
        "listeners/{amphora_id}/{id}/udp_listener": {"PUT": shared.upload_udp_listener},
        "loadbalancer/{id}/haproxy": {"GET": load_balancers.configuration, "PUT": no_haproxy_action},
        "loadbalancer/{id}/{action}": {"PUT": load_balancers.act},
        "loadbalancer/{amphora_id}/{id}/haproxy": {"PUT": load_balancers.upload},
        "loadbalancer/{id}/certificates/{filename}": {
            "GET": load_balancers.certificate_digest,
            "PUT": load_balancers.put_certificate,
            "DELETE": load_balancers.delete_certificate,
        },
        "plug/vip/{ip}": {"POST": network.plug_vip},
        "plug/network": {"POST": network.plug_network},
        "interface/{ip}": {"GET": shared.interface},
        "interface/{ip}/rules": {"PUT": network.replace_rules},
        "vrrp/upload": {"PUT": vrrp.upload},
        "vrrp/{action}": {"PUT": vrrp.act},
        "certificate": {"PUT": shared.put_agent_certificate},
        "config": {"PUT": shared.put_agent_configuration},
    }
    # Controllers distinguish API versions by which paths are a 404.
    return Branch(table, WORDING, allows_trailing_slash=False)
