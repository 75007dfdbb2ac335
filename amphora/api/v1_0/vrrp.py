# SPDX-License-Identifier: Apache-2.0
"""keepalived in API 1.0."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import choose_action, uploaded_file
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import ok, tagged
from amphora.api.v1_0.wording import participle
from amphora.core.keepalived.vrrp import Vrrp
from amphora.errors import (
    InvalidConfiguration,
    OperationFailed,
    VrrpActionFailed,
    VrrpNotConfigured,
    VrrpWasGone,
)
from amphora.models import Done


def vrrp_branch(vrrp: Vrrp) -> Branch:
    """Return ``/vrrp``: the upload, and an action by any other name."""
    return Branch(lambda word: UploadController(vrrp) if word == "upload" else ActionController(vrrp, word))


class UploadController(Resource):
    """``/vrrp/upload``."""

    def __init__(self, vrrp: Vrrp) -> None:
        self._vrrp = vrrp

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        data, expected = uploaded_file(request), expected_by(request)
        try:
            self._vrrp.upload(data, expected)
        except (InvalidConfiguration, OperationFailed) as error:
            # This version knows one failure of an upload and no refusal.
            raise VrrpActionFailed("upload", error.details) from error
        return tagged(ok(200), data)


class ActionController(Resource):
    """``/vrrp/:action``."""

    def __init__(self, vrrp: Vrrp, word: str) -> None:
        self._vrrp = vrrp
        self._word = word

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, _request: Request) -> Response:
        vrrp = self._vrrp
        act = choose_action(self._word, {"start": vrrp.start, "stop": vrrp.stop, "reload": vrrp.reload})
        try:
            done = act().done
        except VrrpWasGone:
            done = Done.STOPPED
        except VrrpNotConfigured as error:
            raise VrrpActionFailed(self._word.lower(), error.details) from error
        return ok(202, f"keepalived {participle(done)}")
