# SPDX-License-Identifier: Apache-2.0
"""Builds the WSGI application: version discovery, and one branch for each API version."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pecan
from pecan.hooks import PecanHook
from webob import Request, Response

from amphora.api.errors import error_response
from amphora.api.extensions.routes import extensions
from amphora.api.gateway import Gateway
from amphora.api.request import AgentRequest
from amphora.api.responses import json_response
from amphora.api.routes import Branch, RoutingController
from amphora.api.v0_1.node import NodeHandlers
from amphora.api.v0_1.routes import version_0_1
from amphora.api.v0_5.routes import version_0_5
from amphora.api.v1_0.node import API_VERSION
from amphora.api.v1_0.routes import version_1_0
from amphora.api.v1_0.wording import WORDING
from amphora.core.services import CoreServices


class ErrorHook(PecanHook):  # type: ignore[misc]
    """Turns every exception of a handler or of routing into a response."""

    def __init__(self, root: RoutingController) -> None:
        self._root = root

    def on_error(self, state: Any, error: Exception) -> Response:
        """Return the response; Pecan sends it instead of its own."""
        return error_response(error, self._root.wording(state.request.path_info))


def make_app(core: CoreServices, allowed_client_names: Collection[str]) -> Gateway:
    """Return the application; building it has no effect outside it.

    :param allowed_client_names: names of client certificates that may use the API; empty: all may.
    """
    root = _root(core)
    app = pecan.make_app(
        root,
        hooks=[ErrorHook(root)],
        request_cls=AgentRequest,
        use_context_locals=False,
        force_canonical=False,
        # Certificate names end in .pem, and what that means depends on the host's mime.types.
        guess_content_type_from_ext=False,
        debug=False,
    )
    return Gateway(app, allowed_client_names, root.wording, core.idempotency_store)


def _root(core: CoreServices) -> RoutingController:
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
