# SPDX-License-Identifier: Apache-2.0
"""keepalived in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.answers import ok
from amphora.api.request import uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.core.vrrp import Vrrp
from amphora.errors import OperationFailed, UnknownAction, VrrpActionFailed, VrrpNotConfigured


class VrrpController(Resource):
    """``/vrrp``: a branch without an answer of its own."""

    def __init__(self, vrrp: Vrrp) -> None:
        self._vrrp = vrrp

    def child(self, segment: str) -> Resource:
        """Return the upload, or the action of this name."""
        return UploadController(self._vrrp) if segment == "upload" else ActionController(self._vrrp, segment)


class UploadController(Resource):
    """``/vrrp/upload`` (section "Upload keepalived configuration")."""

    def __init__(self, vrrp: Vrrp) -> None:
        self._vrrp = vrrp

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, request: Request) -> Response:
        try:
            self._vrrp.upload(uploaded_file(request))
        except OperationFailed as error:
            raise VrrpActionFailed("upload", str(error)) from error
        return ok(200)


class ActionController(Resource):
    """``/vrrp/:action`` (section "Start, Stop, or Reload keepalived")."""

    def __init__(self, vrrp: Vrrp, word: str) -> None:
        self._vrrp = vrrp
        self._word = word

    def handlers(self) -> dict[str, Handler]:
        """PUT only."""
        return {"PUT": self._put}

    def _put(self, _request: Request) -> Response:
        word = self._word.lower()
        actions = {"start": self._vrrp.start, "stop": self._vrrp.stop, "reload": self._vrrp.reload}
        if word not in actions:
            raise UnknownAction(self._word)
        try:
            done = actions[word]()
        except VrrpNotConfigured as error:
            # The document knows no missing object here.
            raise VrrpActionFailed(word, str(error)) from error
        return ok(202, done.partition(" (pid ")[0])
