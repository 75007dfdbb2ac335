# SPDX-License-Identifier: Apache-2.0
"""Ports in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import json_object
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import ok
from amphora.api.v1_0.wording import refused_as_a_whole
from amphora.core.network.plug import Plug
from amphora.core.network.plug_requests import parse_shared_network_request, parse_vip_request
from amphora.errors import InterfaceConflict, PlugFailed


def plug_branch(plug: Plug) -> Branch:
    """Return ``/plug``: ``vip/:ip`` and ``network``."""
    children = {
        "vip": Branch(lambda address: VipController(plug, address)),
        "network": NetworkController(plug),
    }
    return Branch(children.get)


class VipController(Resource):
    """``/plug/vip/:ip``."""

    def __init__(self, plug: Plug, given_address: str) -> None:
        self._plug = plug
        self._given_address = given_address

    def handlers(self) -> dict[str, Handler]:
        """POST only."""
        return {"POST": self._post}

    def _post(self, request: Request) -> Response:
        with refused_as_a_whole("Invalid subnet information"):
            wanted = parse_vip_request(self._given_address, json_object(request))
        plugged = self._plug.plug_vip(wanted)
        if plugged.was_there:
            # To controllers this is a success that has happened before, which by now it is in any case.
            raise InterfaceConflict(f"{plugged.name} was plugged before; its configuration is complete")
        vips = ", ".join(vip.address.exploded for vip in wanted.vips)
        return ok(202, f"VIPs plugged on interface {plugged.name}: {vips}")


class NetworkController(Resource):
    """``/plug/network``."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def handlers(self) -> dict[str, Handler]:
        """POST only."""
        return {"POST": self._post}

    def _post(self, request: Request) -> Response:
        with refused_as_a_whole("Invalid port information"):
            wanted = parse_shared_network_request(json_object(request))
        try:
            plugged = self._plug.plug_network(wanted)
        except PlugFailed as error:
            raise PlugFailed("vip" if wanted.vip else "network", error.details) from error
        if plugged.was_there:
            return ok(202, f"Updated existing interface {plugged.name}")
        return ok(202, f"Plugged on interface {plugged.name}")
