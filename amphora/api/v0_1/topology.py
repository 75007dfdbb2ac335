# SPDX-License-Identifier: Apache-2.0
"""Topology in API v0.1."""

from __future__ import annotations

import ipaddress
from enum import Enum
from typing import Any, TypeVar

from webob import Request, Response

from amphora.api.request import json_object
from amphora.api.responses import json_response, ok
from amphora.api.v0_1.wording import topology_error
from amphora.core.services import CoreServices
from amphora.core.topology import Topology, TopologyKind
from amphora.errors import InvalidInput
from amphora.models import Role

_E = TypeVar("_E", bound=Enum)


class _ConfiguredRole(Enum):
    """The roles that a controller may ask for."""

    ACTIVE = "ACTIVE"
    STANDBY = "STANDBY"


class TopologyHandlers:
    """``/topology``."""

    def __init__(self, core: CoreServices) -> None:
        self._topology = core.topology
        self._node = core.node

    def get(self, _request: Request) -> Response:
        """Section "Get amphora topology"."""
        info, current = self._node.info(), self._topology.current()
        return json_response(
            200,
            {
                "hostname": info.hostname,
                "uuid": info.amphora_id,
                "topology": current.kind.value,
                "role": _role_word(self._topology.role()),
                "ha_ip": current.ha_ip,
            }
            | topology_error(self._topology),
        )

    def change(self, request: Request) -> Response:
        """Section "Set amphora topology"."""
        return ok(202 if self._topology.change(parse_topology(json_object(request))) else 200)


def _role_word(role: Role | None) -> str:
    # A node whose keepalived is silent holds no address, which makes it a standby for its controller.
    return "" if role is None else (Role.ACTIVE if role is Role.ACTIVE else Role.STANDBY).value


def parse_topology(parameters: dict[str, Any]) -> Topology:
    """Read the parameters of a change; those that do not apply to the topology are ignored.

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
    """Reads parameters one by one and collects what is wrong with each."""

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
