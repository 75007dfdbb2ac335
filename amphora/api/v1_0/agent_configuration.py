# SPDX-License-Identifier: Apache-2.0
"""The agent's own configuration in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import ok
from amphora.core.agent_files import AgentConfiguration


class AgentConfigurationController(Resource):
    """``/config``."""

    def __init__(self, configuration: AgentConfiguration) -> None:
        self._configuration = configuration

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        self._configuration.put(uploaded_file(request))
        return ok(202)
