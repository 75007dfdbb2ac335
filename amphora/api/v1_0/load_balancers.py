# SPDX-License-Identifier: Apache-2.0
"""Load balancers of API 1.0: each is one instance."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import choose_action, parse_uuid, uploaded_file
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import ok, tagged, text_answer
from amphora.api.v1_0.certificates import CertificateController
from amphora.api.v1_0.wording import participle
from amphora.core.objects import Engine
from amphora.core.services import CoreServices
from amphora.errors import InstanceWasGone, UnknownAction
from amphora.models import Done

#: What an action came to, whatever was the case before it: a reload is always a restart.
_DONE_BY_LVS = {"start": "started", "stop": "stoped", "reload": "restarted"}


class LoadBalancerController(Resource):
    """``/loadbalancer/:id``; also ``/loadbalancer/:amphora_id``, the way to an upload."""

    def __init__(self, core: CoreServices, given_id: str) -> None:
        self._core = core
        self._given_id = given_id

    def child(self, segment: str) -> Resource:
        """Return what belongs to this load balancer; any other word is an action or an id."""
        if segment == "haproxy":
            return ConfigurationController(self._core, self._given_id)
        if segment == "certificates":
            certificates = self._core.certificates
            return Branch(lambda name: CertificateController(certificates, self._given_id, name))
        return ActionController(self._core, self._given_id, segment)


class ConfigurationController(Resource):
    """``/loadbalancer/:id/haproxy``."""

    def __init__(self, core: CoreServices, given_id: str) -> None:
        self._core = core
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """GET; PUT is an action of this name, which does not exist, as the path has no amphora id."""
        return {"GET": self._get, "PUT": self._unknown_action}

    def _get(self, _request: Request) -> Response:
        data = self._core.instances.configuration(parse_uuid("id", self._given_id))
        return tagged(text_answer(data), data)

    def _unknown_action(self, _request: Request) -> Response:
        raise UnknownAction("haproxy")


class ActionController(Resource):
    """``/loadbalancer/:id/:action``."""

    def __init__(self, core: CoreServices, given_id: str, word: str) -> None:
        self._core = core
        self._given_id = given_id
        self._word = word

    def child(self, segment: str) -> Resource | None:
        """Return the upload resource where this is ``:amphora_id/:id``."""
        return UploadController(self._core, self._given_id, self._word) if segment == "haproxy" else None

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, _request: Request) -> Response:
        word = choose_action(self._word, {word: word for word in ("start", "stop", "reload")})
        served = self._core.objects.find(parse_uuid("id", self._given_id))
        try:
            done = served.actions[word]().done
        except InstanceWasGone:
            done = Done.STOPPED
        if served.engine is Engine.LVS:
            return ok(202, f"keepalivedlvs listener {served.id} {_DONE_BY_LVS[word]}")
        return ok(202, _sentence(served.id, done))


class UploadController(Resource):
    """``/loadbalancer/:amphora_id/:id/haproxy``."""

    def __init__(self, core: CoreServices, given_amphora_id: str, given_id: str) -> None:
        self._core = core
        self._given_amphora_id = given_amphora_id
        self._given_id = given_id

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        amphora_id = parse_uuid("amphora_id", self._given_amphora_id)
        load_balancer_id = parse_uuid("id", self._given_id)
        data, expected = uploaded_file(request), expected_by(request)
        # A load balancer whose listeners are all disabled has no frontend.
        self._core.instances.upload(load_balancer_id, data, amphora_id, may_be_idle=True, expected=expected)
        return tagged(ok(202), data)


def _sentence(load_balancer_id: str, done: Done) -> str:
    if done is Done.STARTED:
        return f"Configuration file is valid\nhaproxy daemon for {load_balancer_id} started"
    return f"Listener {load_balancer_id} {participle(done)}"
