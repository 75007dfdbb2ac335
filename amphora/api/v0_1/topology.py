# SPDX-License-Identifier: Apache-2.0
"""Topology in API v0.1."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Any, TypeVar

from webob import Request, Response

from amphora.api.request import json_object
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer, ok
from amphora.core.keepalived.topology import Topology, TopologyKind, TopologyManager
from amphora.core.node import Node
from amphora.errors import InvalidInput
from amphora.models import Role

_E = TypeVar("_E", bound=Enum)


class _ConfiguredRole(Enum):
    """What a controller may ask a node of a pair to be."""

    ACTIVE = "ACTIVE"
    STANDBY = "STANDBY"


class TopologyController(Resource):
    """``/topology`` (sections "Get amphora topology" and "Set amphora topology")."""

    def __init__(self, topology: TopologyManager, node: Node) -> None:
        self._topology = topology
        self._node = node

    def handlers(self) -> dict[str, Handler]:
        """GET and POST."""
        return {"GET": self._get, "POST": self._post}

    def _get(self, _request: Request) -> Response:
        info, current = self._node.info(), self._topology.current()
        role = self._topology.role()
        return json_answer(
            200,
            {
                "hostname": info.hostname,
                "uuid": info.amphora_id,
                "topology": current.kind.value,
                "role": _role_word(role),
                "ha_ip": current.ha_ip,
            }
            | topology_error(self._topology),
        )

    def _post(self, request: Request) -> Response:
        return ok(202 if self._topology.change(parse_topology(json_object(request))) else 200)


def topology_error(topology: TopologyManager) -> dict[str, str]:
    """Return why the last change of topology failed, as a part of an answer; nothing unless it did."""
    error = topology.error()
    return {"topology_error": error} if error else {}


def _role_word(role: Role | None) -> str:
    # A node whose keepalived is silent holds no address, which is what a standby is to its controller.
    return "" if role is None else (Role.ACTIVE if role is Role.ACTIVE else Role.STANDBY).value


def parse_topology(parameters: dict[str, Any]) -> Topology:
    """Read the parameters of a change. Those that do not apply to a topology are not looked at.

    :raises InvalidInput: names every parameter that is missing or unusable.
    """
    reader = _Reader(parameters)
    kind = reader.one_of("topology", TopologyKind)
    if kind is not TopologyKind.ACTIVE_STANDBY:
        reader.finish()
        return Topology(kind or TopologyKind.SINGLE)
    role, ha_ip, secret = (
        reader.one_of("role", _ConfiguredRole),
        reader.address("ha_ip"),
        reader.text("secret"),
    )
    reader.finish()
    return Topology(kind, Role(role.value) if role else None, ha_ip, secret)


class _Reader:
    """Reads parameters one by one and keeps what is wrong with each."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        self._parameters = parameters
        self._faults: list[str] = []

    def text(self, name: str) -> str:
        value = self._parameters.get(name)
        if isinstance(value, str) and value.strip():
            return value.strip()
        self._faults.append(f"Missing {name}" if value is None else f"Invalid {name}")
        return ""

    def one_of(self, name: str, choices: type[_E]) -> _E | None:
        value = self.text(name)
        try:
            return choices(value) if value else None
        except ValueError:
            self._faults.append(f"Unknown {name}: {value}")
            return None

    def address(self, name: str) -> str:
        value = self.text(name)
        try:
            return str(ipaddress.ip_address(value)) if value else ""
        except ValueError:
            self._faults.append(f"Invalid {name}: {value}")
            return ""

    def finish(self) -> None:
        if self._faults:
            raise InvalidInput("; ".join(self._faults))
