# SPDX-License-Identifier: Apache-2.0
"""Builds the WSGI application."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pecan
from pecan.hooks import PecanHook
from webob import Response

from amphora.api import errors
from amphora.api.errors import Wording
from amphora.api.gateway import Gateway
from amphora.api.request import AgentRequest
from amphora.api.root import RootController
from amphora.core.services import CoreServices


class ErrorHook(PecanHook):  # type: ignore[misc]
    """Answers every exception that a controller or the routing raises."""

    def __init__(self, wording: Callable[[str], Wording]) -> None:
        self._wording = wording

    def on_error(self, state: Any, error: Exception) -> Response:
        """Return the answer; Pecan uses it instead of its own."""
        return errors.answer_to(error, self._wording(state.request.path_info))


def make_app(core: CoreServices, allowed_client_names: Collection[str]) -> Gateway:
    """Return the application. Building it has no effect outside it.

    :param allowed_client_names: names of client certificates that may use the API; empty: all may.
    """
    root = RootController(core)
    app = pecan.make_app(
        root,
        hooks=[ErrorHook(root.wording)],
        request_cls=AgentRequest,
        use_context_locals=False,
        force_canonical=False,
        # Certificate names end in .pem, and what that means depends on the host's mime.types.
        guess_content_type_from_ext=False,
        debug=False,
    )
    return Gateway(app, allowed_client_names, root.wording, core.idempotency_store)
