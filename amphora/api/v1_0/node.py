# SPDX-License-Identifier: Apache-2.0
"""The amphora itself in API 1.0."""

from __future__ import annotations

from collections.abc import Mapping

from webob import Request, Response

from amphora.api.responses import json_response
from amphora.core.node import NodeInfo
from amphora.core.sampler import Sample
from amphora.core.services import CoreServices

API_VERSION = "1.0"

#: This API's name for each figure of /proc/meminfo.
_MEMORY = {
    "total": "MemTotal",
    "free": "MemFree",
    "buffers": "Buffers",
    "cached": "Cached",
    "swap_used": "SwapCached",
    "shared": "Shmem",
    "slab": "Slab",
}


class NodeHandlers:
    """``/info`` and ``/details``."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core

    def info(self, _request: Request) -> Response:
        """Return names and versions."""
        node = self._core.node
        return json_response(200, _info(node.info(), node.package_versions()))

    def details(self, _request: Request) -> Response:
        """Return what ``/info`` has, and figures of load."""
        details = self._core.node.details()
        return json_response(
            200,
            _info(details.info, details.packages)
            | {
                "networks": _networks(details.counters),
                "haproxy_count": details.haproxy_count,
                "lvs_listener_process_count": self._core.status.lvs_process_count(),
                "cpu_count": details.cpu_count,
                "cpu": _cpu(details.counters),
                "memory": {name: details.memory.get(source, 0) for name, source in _MEMORY.items()},
                "disk": {"used": details.disk.used * 1024, "available": details.disk.available * 1024},
                "load": [f"{load:.2f}" for load in details.load],
                "active_tuned_profiles": details.tuned_profiles,
                "listeners": self._listeners(),
                # Constants: controllers track the real state themselves.
                "active": True,
                "topology": "SINGLE",
                "topology_status": "OK",
                "packages": {},
            },
        )

    def _listeners(self) -> list[str]:
        by_haproxy = [listener.id for listener in self._core.status.listeners()]
        return sorted(by_haproxy + [listener.id for listener in self._core.status.lvs_listeners()])


def _info(info: NodeInfo, packages: Mapping[str, str]) -> dict[str, object]:
    return {
        "hostname": info.hostname,
        "api_version": API_VERSION,
        "haproxy_version": info.haproxy_version,
        "keepalived_version": packages.get("keepalived", ""),
        "ipvsadm_version": packages.get("ipvsadm", ""),
    }


def _networks(counters: Sample) -> dict[str, dict[str, int]]:
    return {
        name: {"network_tx": traffic.sent, "network_rx": traffic.received}
        for name, traffic in counters.traffic.items()
        if name.startswith("eth")
    }


def _cpu(counters: Sample) -> dict[str, int | str]:
    cpu = counters.cpu
    return {
        "total": cpu.total,
        "user": str(cpu.user),
        "system": str(cpu.system),
        "soft_irq": str(cpu.soft_irq),
    }
