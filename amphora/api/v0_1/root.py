# SPDX-License-Identifier: Apache-2.0
"""Version 0.1 of the API ("Octavia HAProxy Amphora API")."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.answers import json_answer
from amphora.api.resource import Handler, Resource
from amphora.api.v0_1.listeners import ListenersController
from amphora.core.node import Node
from amphora.core.services import CoreServices

API_VERSION = "0.1"


class VersionController(Resource):
    """``/v0.1`` and ``/0.5``: the same tree.

    :param certificates_need_configuration: whether a certificate for a listener without an uploaded
        configuration is refused.
    """

    def __init__(self, core: CoreServices, *, certificates_need_configuration: bool) -> None:
        self._children: dict[str, Resource] = {
            "info": InfoController(core.node),
            "listeners": ListenersController(core, certificates_need_configuration),
        }

    def child(self, segment: str) -> Resource | None:
        """Return the resource of this name."""
        return self._children.get(segment)


class InfoController(Resource):
    """``/info`` (section "Get amphora info")."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        info = self._node.info()
        return json_answer(
            200,
            {
                "hostname": info.hostname,
                "uuid": info.amphora_id,
                "haproxy_version": info.haproxy_version,
                "api_version": API_VERSION,
            },
        )
