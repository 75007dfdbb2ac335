# SPDX-License-Identifier: Apache-2.0
"""keepalived in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import choose_action, expected_by, uploaded_file
from amphora.api.responses import ok
from amphora.api.v0_1.wording import keepalived_sentence
from amphora.core.workloads.vrrp import VrrpWorkload
from amphora.errors import OperationFailed, VrrpActionFailed, VrrpNotConfigured


class VrrpHandlers:
    """``/vrrp``."""

    def __init__(self, vrrp: VrrpWorkload) -> None:
        self._vrrp = vrrp

    def upload(self, request: Request) -> Response:
        """Section "Upload keepalived configuration"."""
        try:
            output = self._vrrp.upload(uploaded_file(request), expected_by(request))
        except OperationFailed as error:
            raise VrrpActionFailed("upload", error.details) from error
        return ok(200, output)

    def act(self, _request: Request, word: str) -> Response:
        """Section "Start, Stop, or Reload keepalived"."""
        action = choose_action(word, self._vrrp.actions)
        try:
            result = action()
        except VrrpNotConfigured as error:
            # The document has no 404 here.
            raise VrrpActionFailed(word.lower(), error.details) from error
        return ok(202, keepalived_sentence(result))
