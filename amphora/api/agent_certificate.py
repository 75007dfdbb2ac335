# SPDX-License-Identifier: Apache-2.0
"""The agent's own certificate, the same in every version."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import ok
from amphora.core.agent_files import AgentCertificate


class AgentCertificateController(Resource):
    """``/certificate``: what the agent shows to controllers."""

    def __init__(self, certificate: AgentCertificate) -> None:
        self._certificate = certificate

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        self._certificate.put(uploaded_file(request))
        return ok(202)
