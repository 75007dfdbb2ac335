# SPDX-License-Identifier: Apache-2.0
"""Ports and interfaces in API v0.1."""

from __future__ import annotations

import ipaddress

from webob import Request, Response

from amphora.api.answers import json_answer, ok
from amphora.api.errors import BadAddress, MissingObject
from amphora.api.request import json_object
from amphora.api.resource import Handler, Resource
from amphora.core.plug import Plug
from amphora.core.plug_requests import parse_network_request, parse_vip, parse_vip_request


class PlugController(Resource):
    """``/plug``: a branch without an answer of its own."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def child(self, segment: str) -> Resource | None:
        """Return what can be plugged."""
        if segment == "vip":
            return VipsController(self._plug)
        return NetworkController(self._plug) if segment == "network" else None


class VipsController(Resource):
    """``/plug/vip``: a branch without an answer of its own."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def child(self, segment: str) -> Resource:
        """Return the VIP with this address."""
        return VipController(self._plug, segment)


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


class InterfacesController(Resource):
    """``/interface``: a branch without an answer of its own."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def child(self, segment: str) -> Resource:
        """Return the interface that holds this address."""
        return InterfaceController(self._plug, segment)


class InterfaceController(Resource):
    """``/interface/:ip`` (section "Get interface")."""

    def __init__(self, plug: Plug, given_address: str) -> None:
        self._plug = plug
        self._given_address = given_address

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        try:
            address = ipaddress.ip_address(self._given_address)
        except ValueError as error:
            raise BadAddress from error
        name = self._plug.interface_for_address(address)
        if name is None:
            raise MissingObject("Error interface not found for IP address")
        return json_answer(200, {"message": "OK", "interface": name})
