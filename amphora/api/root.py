# SPDX-License-Identifier: Apache-2.0
"""The root of the controller tree: version discovery, and one branch for each API version."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.errors import AS_IN_TABLE, Wording
from amphora.api.extensions.root import extensions_branch
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer
from amphora.api.v0_1.node import InfoController
from amphora.api.v0_1.root import VersionController
from amphora.api.v1_0.node import API_VERSION
from amphora.api.v1_0.root import LoadBalancerVersionController
from amphora.api.v1_0.wording import WORDING
from amphora.core.services import CoreServices


class RootController(Resource):
    """``/``."""

    def __init__(self, core: CoreServices) -> None:
        self._children: dict[str, Resource] = {
            "info": InfoController(core.node),
            "v0.1": VersionController(core),
            "0.5": VersionController(core, is_legacy=True),
            "1.0": LoadBalancerVersionController(core),
            "extensions": extensions_branch(core),
        }

    def child(self, segment: str) -> Resource | None:
        """Return the branch of a version, or ``/info``, which has no version in its path."""
        return self._children.get(segment)

    def handlers(self) -> dict[str, Handler]:
        """Answer version discovery."""
        return {"GET": self._discover}

    def wording(self, path: str) -> Wording:
        """Return how errors of a path are worded: those that belong to no version as by the newest."""
        version = path.strip("/").partition("/")[0]
        return AS_IN_TABLE if version != "1.0" and version in self._children else WORDING

    def _discover(self, _request: Request) -> Response:
        return json_answer(200, {"api_version": API_VERSION})
