# SPDX-License-Identifier: Apache-2.0
"""The amphora itself in API v0.1."""

from __future__ import annotations

from collections.abc import Mapping

from webob import Request, Response

from amphora.api.responses import json_response
from amphora.api.v0_1.wording import topology_error
from amphora.core.node import NodeInfo
from amphora.core.sampler import Rates
from amphora.core.services import CoreServices

API_VERSION = "0.1"

#: The document's name for each figure of /proc/meminfo.
_MEMORY = {
    "total": "MemTotal",
    "free": "MemFree",
    "available": "MemAvailable",
    "buffers": "Buffers",
    "cached": "Cached",
    "shared": "Shmem",
    "slab": "Slab",
    "committed_as": "Committed_AS",
}


class NodeHandlers:
    """``/info`` and ``/details``."""

    def __init__(self, core: CoreServices) -> None:
        self._node = core.node
        self._topology = core.topology

    def info(self, _request: Request) -> Response:
        """Section "Get amphora info"."""
        return json_response(200, _info(self._node.info()))

    def details(self, _request: Request) -> Response:
        """Section "Get amphora details"."""
        details = self._node.details()
        cpu = details.rates.cpu
        return json_response(
            200,
            _info(details.info)
            | _networks(details.rates)
            | {
                "haproxy_count": details.haproxy_count,
                "cpu": {
                    "total": cpu.total,
                    "user": cpu.user,
                    "system": cpu.system,
                    "soft_irq": cpu.soft_irq,
                },
                "memory": _memory(details.memory),
                "disk": {"used": details.disk.used, "available": details.disk.available},
                "load": list(details.load),
                "active": self._topology.is_active(),
                "topology": self._topology.current().kind.value,
                "topology_status": "TOPOLOGY-CHANGE" if self._topology.is_changing() else "OK",
                "listeners": list(details.listeners),
                "packages": [{name: version} for name, version in details.packages.items()],
                "recovery": [
                    {"step": step.name, "seconds": step.seconds, "problem": step.problem}
                    for step in details.recovery
                ],
            }
            | topology_error(self._topology),
        )


def _info(info: NodeInfo) -> dict[str, object]:
    return {
        "hostname": info.hostname,
        "uuid": info.amphora_id,
        "haproxy_version": info.haproxy_version,
        "api_version": API_VERSION,
    }


def _networks(rates: Rates) -> dict[str, object]:
    return {
        "network_tx": sum(traffic.sent for traffic in rates.traffic.values()),
        "network_rx": sum(traffic.received for traffic in rates.traffic.values()),
        "networks": {
            name: {"network_tx": traffic.sent, "network_rx": traffic.received}
            for name, traffic in rates.traffic.items()
        },
    }


def _memory(figures: Mapping[str, int]) -> dict[str, int]:
    swap_used = figures.get("SwapTotal", 0) - figures.get("SwapFree", 0)
    return {name: figures.get(source, 0) for name, source in _MEMORY.items()} | {"swap_used": swap_used}
