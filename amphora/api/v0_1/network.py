# SPDX-License-Identifier: Apache-2.0
"""Ports in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import json_object
from amphora.api.responses import ok
from amphora.core.network.plug import Plug
from amphora.core.network.plug_requests import parse_network_request, parse_vip, parse_vip_request


class NetworkHandlers:
    """``/plug``."""

    def __init__(self, plug: Plug) -> None:
        self._plug = plug

    def plug_vip(self, request: Request, given_address: str) -> Response:
        """Section "Plug VIP"."""
        vip = parse_vip(given_address)
        plugged = self._plug.plug_vip(parse_vip_request(given_address, json_object(request)))
        return ok(202, f"VIP {vip} plugged on interface {plugged.name}")

    def plug_network(self, request: Request) -> Response:
        """Section "Plug Network"."""
        plugged = self._plug.plug_network(parse_network_request(json_object(request)))
        remark = "; it has no address yet" if plugged.awaits_addresses else ""
        return ok(202, f"Plugged interface {plugged.name}{remark}")
