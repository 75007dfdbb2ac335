# SPDX-License-Identifier: Apache-2.0
"""Ports and their packet filter rules in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import json_document, json_object
from amphora.api.responses import ok
from amphora.api.shared import SharedHandlers
from amphora.api.v1_0.wording import parameters_refused_as
from amphora.core.network.packet_filter import parse_rules
from amphora.core.network.plug_requests import parse_shared_network_request, parse_vip_request
from amphora.core.services import CoreServices
from amphora.errors import InterfaceConflict, PlugFailed


class NetworkHandlers:
    """``/plug`` and ``/interface/{ip}/rules``."""

    def __init__(self, core: CoreServices, shared: SharedHandlers) -> None:
        self._plug = core.plug
        self._rules = core.interface_rules
        self._shared = shared

    def plug_vip(self, request: Request, given_address: str) -> Response:
        """Plug the port of a VIP."""
        with parameters_refused_as("Invalid subnet information"):
            wanted = parse_vip_request(given_address, json_object(request))
        plugged = self._plug.plug_vip(wanted)
        if plugged.was_there:
            # Controllers take this for success at an earlier attempt; the port is complete by now.
            raise InterfaceConflict(f"{plugged.name} was plugged before; its configuration is complete")
        vips = ", ".join(vip.address.exploded for vip in wanted.vips)
        return ok(202, f"VIPs plugged on interface {plugged.name}: {vips}")

    def plug_network(self, request: Request) -> Response:
        """Plug the port of a member network."""
        with parameters_refused_as("Invalid port information"):
            wanted = parse_shared_network_request(json_object(request))
        try:
            plugged = self._plug.plug_network(wanted)
        except PlugFailed as error:
            raise PlugFailed("vip" if wanted.vip else "network", error.details) from error
        if plugged.was_there:
            return ok(202, f"Updated existing interface {plugged.name}")
        return ok(202, f"Plugged on interface {plugged.name}")

    def replace_rules(self, request: Request, given_address: str) -> Response:
        """Replace the packet filter rules of an interface."""
        with parameters_refused_as("Invalid rules information"):
            rules = parse_rules(json_document(request))
        self._rules.replace(self._shared.interface_name(given_address), rules)
        return ok(200)
