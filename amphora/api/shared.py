# SPDX-License-Identifier: Apache-2.0
"""Resources that are the same in several versions."""

from __future__ import annotations

import ipaddress

from webob import Request, Response

from amphora.api.errors import BadAddress, InterfaceNotFound
from amphora.api.request import expected_by, parse_uuid, uploaded_file
from amphora.api.responses import json_response, ok, tagged
from amphora.core.services import CoreServices
from amphora.errors import LvsActionFailed, OperationFailed, UnknownAction


class SharedHandlers:
    """The agent's own files, interfaces by address, and uploads for UDP and SCTP listeners."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core

    def put_agent_certificate(self, request: Request) -> Response:
        """Replace the certificate that the agent shows to controllers."""
        self._core.agent_certificate.put(uploaded_file(request))
        return ok(202)

    def put_agent_configuration(self, request: Request) -> Response:
        """Replace the agent's configuration file."""
        self._core.agent_configuration.put(uploaded_file(request))
        return ok(202)

    def interface(self, _request: Request, given_address: str) -> Response:
        """Return which interface holds an address."""
        return json_response(200, {"message": "OK", "interface": self.interface_name(given_address)})

    def interface_name(self, given_address: str) -> str:
        """Return the name of the interface that holds an address.

        :raises BadAddress: it is not an IP address.
        :raises InterfaceNotFound: no interface holds it.
        """
        try:
            address = ipaddress.ip_address(given_address)
        except ValueError as error:
            raise BadAddress from error
        name = self._core.plug.interface_for_address(address)
        if name is None:
            raise InterfaceNotFound(f"No interface has the address {address}")
        return name

    def upload_udp_listener(self, request: Request, given_amphora_id: str, given_id: str) -> Response:
        """Store the configuration of a UDP or SCTP listener."""
        parse_uuid("amphora_id", given_amphora_id)
        listener_id = parse_uuid("id", given_id)
        data, expected = uploaded_file(request), expected_by(request)
        try:
            self._core.workloads.lvs(listener_id).upload(data, expected)
        except OperationFailed as error:
            raise LvsActionFailed("upload", listener_id, error.details) from error
        return tagged(ok(200), data)


def no_haproxy_action(_request: Request, _given_id: str) -> Response:
    """Refuse an upload whose path lacks the amphora's id, and thus asks for an action named ``haproxy``."""
    raise UnknownAction("haproxy")
