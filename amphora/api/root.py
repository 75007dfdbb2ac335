# SPDX-License-Identifier: Apache-2.0
"""The root of the API: version discovery, and one branch for each API version."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.extensions.routes import extensions
from amphora.api.responses import json_response
from amphora.api.routes import Branch, RoutingController
from amphora.api.v0_1.node import NodeHandlers
from amphora.api.v0_1.routes import version_0_1
from amphora.api.v0_5.routes import version_0_5
from amphora.api.v1_0.node import API_VERSION
from amphora.api.v1_0.routes import version_1_0
from amphora.api.v1_0.wording import WORDING
from amphora.core.services import CoreServices


def make_root(core: CoreServices) -> RoutingController:
    """Return the root controller."""
    return RoutingController(
        {
            "": Branch({"": {"GET": _discover}}, WORDING),
            "info": Branch({"": {"GET": NodeHandlers(core).info}}),
            "v0.1": version_0_1(core),
            "0.5": version_0_5(core),
            "1.0": version_1_0(core),
            "extensions": extensions(core),
        }
    )


def _discover(_request: Request) -> Response:
    return json_response(200, {"api_version": API_VERSION})
