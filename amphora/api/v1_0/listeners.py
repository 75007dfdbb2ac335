# SPDX-License-Identifier: Apache-2.0
"""Listeners of all load balancers in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import parse_uuid
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import json_answer, ok
from amphora.api.v1_0.udp_listeners import WORD, UdpListenerController, UdpListenerUploadController
from amphora.core.services import CoreServices
from amphora.errors import InstanceActionFailed, NotFound
from amphora.models import InstanceState

_LVS_STATUS = {
    InstanceState.RUNNING: "ACTIVE",
    InstanceState.STOPPED: "OFFLINE",
    InstanceState.ERROR: "ERROR",
}


class ListenersController(Resource):
    """``/listeners``."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core

    def child(self, segment: str) -> Resource:
        """Return what is deleted under this id."""
        return ListenerController(self._core, segment)

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        # A status of its own is only in the heartbeat: here a listener that is known is active.
        by_haproxy = [
            {"status": "ACTIVE", "uuid": listener.id, "type": listener.protocol.value}
            for listener in self._core.status.listeners()
        ]
        # SCTP listeners have this type too.
        by_lvs = [
            {"status": _LVS_STATUS[listener.state], "uuid": listener.id, "type": "UDP"}
            for listener in self._core.lvs_status.all()
        ]
        return json_answer(200, by_haproxy + by_lvs)


class ListenerController(Resource):
    """``/listeners/:id``: a load balancer, in spite of the word, or a UDP or SCTP listener.

    Also ``/listeners/:amphora_id``, the way to an upload.
    """

    def __init__(self, core: CoreServices, given_id: str) -> None:
        self._core = core
        self._given_id = given_id

    def child(self, segment: str) -> Resource:
        """Return the configuration of this listener; any other word is the id of one of this amphora's."""
        lvs, given_id = self._core.lvs, self._given_id
        if segment == WORD:
            return UdpListenerController(lvs, given_id)
        return Branch(
            lambda word: UdpListenerUploadController(lvs, given_id, segment) if word == WORD else None
        )

    def handlers(self) -> dict[str, Handler]:
        """DELETE only."""
        return {"DELETE": self._delete}

    def _delete(self, request: Request) -> Response:
        expected = expected_by(request)
        try:
            self._core.objects.delete(parse_uuid("id", self._given_id), expected)
        except NotFound:
            expected.require(None)
            # Whoever deletes again after a time-out wants to hear that it is gone.
            return ok(200)
        except InstanceActionFailed as error:
            raise InstanceActionFailed("delete", error.details) from error
        return ok(200)
