# SPDX-License-Identifier: Apache-2.0
"""Configurations of UDP and SCTP listeners in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import parse_uuid, uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import ok, tagged, text_answer
from amphora.core.lvs.listeners import LvsListeners
from amphora.errors import LvsActionFailed, OperationFailed

#: Last word of both paths; SCTP listeners have no other.
WORD = "udp_listener"


class UdpListenerController(Resource):
    """``/listeners/:id/udp_listener``."""

    def __init__(self, lvs: LvsListeners, given_id: str) -> None:
        self._lvs = lvs
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """GET only: the path of an upload has the amphora's id in it."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        return text_answer(self._lvs.configuration(parse_uuid("id", self._given_id)))


class UdpListenerUploadController(Resource):
    """``/listeners/:amphora_id/:id/udp_listener``."""

    def __init__(self, lvs: LvsListeners, given_amphora_id: str, given_id: str) -> None:
        self._lvs = lvs
        self._given_amphora_id = given_amphora_id
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        parse_uuid("amphora_id", self._given_amphora_id)
        listener_id = parse_uuid("id", self._given_id)
        data, expected = uploaded_file(request), expected_by(request)
        try:
            self._lvs.upload(listener_id, data, expected)
        except OperationFailed as error:
            raise LvsActionFailed("upload", listener_id, error.details) from error
        return tagged(ok(200), data)
