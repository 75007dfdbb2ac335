# SPDX-License-Identifier: Apache-2.0
"""Listeners of API v0.1: each is one instance with one frontend."""

from __future__ import annotations

from webob import Request, Response

from amphora import errors
from amphora.api.preconditions import expected_by
from amphora.api.request import choose_action, parse_uuid, uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer, ok, tagged, text_answer
from amphora.api.v0_1.certificates import CertificatesController
from amphora.api.v0_1.wording import listener_wording
from amphora.api.v1_0.udp_listeners import WORD as UDP_LISTENER
from amphora.api.v1_0.udp_listeners import UdpListenerUploadController
from amphora.core.haproxy.instance_status import InstanceStatus
from amphora.core.services import CoreServices
from amphora.models import InstanceState

_STATUS = {
    InstanceState.RUNNING: "ACTIVE",
    InstanceState.STOPPED: "STOPPED",
    InstanceState.ERROR: "ERROR",
}


class ListenersController(Resource):
    """``/listeners``."""

    def __init__(self, core: CoreServices, is_legacy: bool) -> None:
        self._core = core
        self._is_legacy = is_legacy

    def child(self, segment: str) -> Resource:
        """Return the listener, or the amphora, with this id."""
        return ListenerController(self._core, segment, self._is_legacy)

    def handlers(self) -> dict[str, Handler]:
        """GET: section "Get all listeners' statuses"."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        return json_answer(200, [_summary(status) for status in self._core.status.all()])


class ListenerController(Resource):
    """``/listeners/:listener``; also ``/listeners/:amphora_id``, the way to an upload."""

    def __init__(self, core: CoreServices, given_id: str, is_legacy: bool) -> None:
        self._core = core
        self._given_id = given_id
        self._is_legacy = is_legacy

    def child(self, segment: str) -> Resource:
        """Return what belongs to this listener; any other word is an action or a listener's id."""
        if segment == "haproxy":
            return ConfigurationController(self._core, self._given_id)
        if segment == "certificates":
            return CertificatesController(self._core.certificates, self._given_id, self._is_legacy)
        return ActionController(self._core, self._given_id, segment, self._is_legacy)

    def handlers(self) -> dict[str, Handler]:
        """GET and DELETE: sections "Get a listener's status" and "Delete a listener"."""
        return {"GET": self._get, "DELETE": self._delete}

    def _get(self, _request: Request) -> Response:
        with listener_wording():
            status = self._core.status.one(parse_uuid("listener", self._given_id))
        pools = [
            {
                "uuid": pool.id,
                "status": pool.health.value,
                "members": [{member: health.value} for member, health in pool.members],
            }
            for pool in status.pools
        ]
        return json_answer(200, _summary(status) | {"pools": pools})

    def _delete(self, request: Request) -> Response:
        with listener_wording():
            self._core.objects.delete(parse_uuid("listener", self._given_id), expected_by(request))
        return ok(200)


class ConfigurationController(Resource):
    """``/listeners/:listener/haproxy`` (section "Get listener haproxy configuration")."""

    def __init__(self, core: CoreServices, given_id: str) -> None:
        self._core = core
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """GET; PUT is an action of this name, which does not exist, as the path has no amphora id."""
        return {"GET": self._get, "PUT": self._unknown_action}

    def _get(self, _request: Request) -> Response:
        with listener_wording():
            data = self._core.instances.configuration(parse_uuid("listener", self._given_id))
        return tagged(text_answer(data), data)

    def _unknown_action(self, _request: Request) -> Response:
        raise errors.UnknownAction("haproxy")


class ActionController(Resource):
    """``/listeners/:listener/:action`` (section "Start or Stop a listener")."""

    def __init__(self, core: CoreServices, given_id: str, word: str, is_legacy: bool) -> None:
        self._core = core
        self._given_id = given_id
        self._word = word
        self._is_legacy = is_legacy

    def child(self, segment: str) -> Resource | None:
        """Return the upload resource where this is ``:amphora_id/:listener``."""
        if segment == "haproxy":
            return UploadController(self._core, self._given_id, self._word)
        if segment == UDP_LISTENER and self._is_legacy:
            return UdpListenerUploadController(self._core.lvs, self._given_id, self._word)
        return None

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, _request: Request) -> Response:
        listener_id = parse_uuid("listener", self._given_id)
        act = choose_action(self._word, self._core.objects.find(listener_id).actions)
        with listener_wording():
            return ok(202, act())


class UploadController(Resource):
    """``/listeners/:amphora_id/:listener/haproxy`` (section "Upload listener haproxy configuration")."""

    def __init__(self, core: CoreServices, given_amphora_id: str, given_id: str) -> None:
        self._core = core
        self._given_amphora_id = given_amphora_id
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        amphora_id = parse_uuid("amphora_id", self._given_amphora_id)
        listener_id = parse_uuid("listener", self._given_id)
        data, expected = uploaded_file(request), expected_by(request)
        return ok(201, self._core.instances.upload(listener_id, data, amphora_id, expected=expected))


def _summary(status: InstanceStatus) -> dict[str, object]:
    return {"status": _STATUS[status.state], "uuid": status.id, "type": status.protocol.value}
