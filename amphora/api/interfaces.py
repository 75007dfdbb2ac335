# SPDX-License-Identifier: Apache-2.0
"""Interfaces by their addresses, the same in every version."""

from __future__ import annotations

import ipaddress

from webob import Request, Response

from amphora.api.errors import BadAddress, MissingObject
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer
from amphora.core.network.plug import Plug


class InterfaceController(Resource):
    """``/interface/:ip``: which interface holds an address at this moment."""

    def __init__(self, plug: Plug, given_address: str) -> None:
        self._plug = plug
        self._given_address = given_address

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        return json_answer(200, {"message": "OK", "interface": self.name()})

    def name(self) -> str:
        """Return the interface's name.

        :raises BadAddress: what the path has is no address.
        :raises MissingObject: no interface holds it.
        """
        try:
            address = ipaddress.ip_address(self._given_address)
        except ValueError as error:
            raise BadAddress from error
        name = self._plug.interface_for_address(address)
        if name is None:
            raise MissingObject("Error interface not found for IP address")
        return name
