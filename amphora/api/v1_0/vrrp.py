# SPDX-License-Identifier: Apache-2.0
"""keepalived in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import choose_action, expected_by, uploaded_file
from amphora.api.responses import ok, tagged
from amphora.api.v1_0.wording import participle
from amphora.core.workloads.vrrp import VrrpWorkload
from amphora.errors import (
    InvalidConfiguration,
    OperationFailed,
    VrrpActionFailed,
    VrrpNotConfigured,
    VrrpWasGone,
)
from amphora.models import ActionKind


class VrrpHandlers:
    """``/vrrp``."""

    def __init__(self, vrrp: VrrpWorkload) -> None:
        self._vrrp = vrrp

    def upload(self, request: Request) -> Response:
        """Store a configuration; this version words every failure of it alike."""
        data, expected = uploaded_file(request), expected_by(request)
        try:
            self._vrrp.upload(data, expected)
        except (InvalidConfiguration, OperationFailed) as error:
            raise VrrpActionFailed("upload", error.details) from error
        return tagged(ok(200), data)

    def act(self, _request: Request, word: str) -> Response:
        """Start, stop or reload keepalived."""
        action = choose_action(word, self._vrrp.actions)
        try:
            kind = action().kind
        except VrrpWasGone:
            kind = ActionKind.STOPPED
        except VrrpNotConfigured as error:
            raise VrrpActionFailed(word.lower(), error.details) from error
        return ok(202, f"keepalived {participle(kind)}")
