# SPDX-License-Identifier: Apache-2.0
"""Ports in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import json_object
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import ok
from amphora.core.network.plug import Plug
from amphora.core.network.plug_requests import parse_network_request, parse_vip, parse_vip_request


def plug_branch(plug: Plug) -> Branch:
    """Return ``/plug``: ``vip/:ip`` and ``network``."""
    children = {
        "vip": Branch(lambda address: VipController(plug, address)),
        "network": NetworkController(plug),
    }
    return Branch(children.get)


class VipController(Resource):
    """``/plug/vip/:ip`` (section "Plug VIP")."""

    def __init__(self, plug: Plug, given_address: str) -> None:
        self._plug = plug
        self._given_address = given_address

    def handlers(self) -> dict[str, Handler]:
        """POST only."""
        return {"POST": self._post}

    def _post(self, request: Request) -> Response:
        vip = parse_vip(self._given_address)
        plugged = self._plug.plug_vip(parse_vip_request(self._given_address, json_object(request)))
        return ok(202, f"VIP {vip} plugged on interface {plugged.name}")


class NetworkController(Resource):
    """``/plug/network`` (section "Plug Network")."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def handlers(self) -> dict[str, Handler]:
        """POST only."""
        return {"POST": self._post}

    def _post(self, request: Request) -> Response:
        plugged = self._plug.plug_network(parse_network_request(json_object(request)))
        remark = "; it has no address yet" if plugged.awaits_addresses else ""
        return ok(202, f"Plugged interface {plugged.name}{remark}")
