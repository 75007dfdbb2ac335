# SPDX-License-Identifier: Apache-2.0
"""keepalived in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import choose_action, uploaded_file
from amphora.api.resource import Branch, Handler, Resource
from amphora.api.responses import ok
from amphora.core.keepalived.vrrp import Vrrp
from amphora.errors import OperationFailed, VrrpActionFailed, VrrpNotConfigured


def vrrp_branch(vrrp: Vrrp) -> Branch:
    """Return ``/vrrp``: the upload, and an action by any other name."""
    return Branch(lambda word: UploadController(vrrp) if word == "upload" else ActionController(vrrp, word))


class UploadController(Resource):
    """``/vrrp/upload`` (section "Upload keepalived configuration")."""

    def __init__(self, vrrp: Vrrp) -> None:
        self._vrrp = vrrp

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        try:
            words = self._vrrp.upload(uploaded_file(request), expected_by(request))
        except OperationFailed as error:
            raise VrrpActionFailed("upload", str(error)) from error
        return ok(200, words)


class ActionController(Resource):
    """``/vrrp/:action`` (section "Start, Stop, or Reload keepalived")."""

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
            done = act()
        except VrrpNotConfigured as error:
            # The document knows no missing object here.
            raise VrrpActionFailed(self._word.lower(), str(error)) from error
        return ok(202, done.partition(" (pid ")[0])
