# SPDX-License-Identifier: Apache-2.0
"""Listeners of all load balancers, and deletion, in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import expected_by, parse_uuid
from amphora.api.responses import json_response, ok, text_response
from amphora.api.v1_0.wording import absence_is_success
from amphora.core.services import CoreServices
from amphora.errors import InstanceActionFailed
from amphora.models import InstanceState

_LVS_STATUS = {
    InstanceState.RUNNING: "ACTIVE",
    InstanceState.STOPPED: "OFFLINE",
    InstanceState.ERROR: "ERROR",
}


class ListenerHandlers:
    """``/listeners``."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core

    def all(self, _request: Request) -> Response:
        """Return all listeners; the true status of haproxy's is in the heartbeat only."""
        by_haproxy = [
            {"status": "ACTIVE", "uuid": listener.id, "type": listener.protocol.value}
            for listener in self._core.status.listeners()
        ]
        # SCTP listeners have this type too.
        by_lvs = [
            {"status": _LVS_STATUS[listener.state], "uuid": listener.id, "type": "UDP"}
            for listener in self._core.status.lvs_listeners()
        ]
        return json_response(200, by_haproxy + by_lvs)

    def delete(self, request: Request, given_id: str) -> Response:
        """Delete a load balancer, or a UDP or SCTP listener."""
        expected = expected_by(request)
        try:
            with absence_is_success(expected):
                self._core.workloads.delete(parse_uuid("id", given_id), expected)
        except InstanceActionFailed as error:
            raise InstanceActionFailed("delete", error.details) from error
        return ok(200)

    def udp_configuration(self, _request: Request, given_id: str) -> Response:
        """Return the stored configuration of a UDP or SCTP listener."""
        return text_response(self._core.workloads.lvs(parse_uuid("id", given_id)).configuration())
