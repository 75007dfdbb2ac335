# SPDX-License-Identifier: Apache-2.0
"""Certificates of a load balancer in API 1.0, and all else that its TLS needs as a file."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import parse_uuid, uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer, ok, tagged
from amphora.core.haproxy.certificates import ANY_CONTENT, Certificates
from amphora.errors import CertificateNotFound, InstanceNotFound, NotFound


class CertificateController(Resource):
    """``/loadbalancer/:id/certificates/:filename``. The load balancer need not be known yet."""

    def __init__(self, certificates: Certificates, given_id: str, filename: str) -> None:
        self._certificates = certificates
        self._given_id = given_id
        self._filename = filename

    def handlers(self) -> dict[str, Handler]:
        """GET answers a digest and never the content."""
        return {"GET": self._get, "PUT": self._put, "DELETE": self._delete}

    def _get(self, _request: Request) -> Response:
        try:
            digest = self._certificates.digest(self._id(), self._filename, ANY_CONTENT)
        except InstanceNotFound as error:
            raise CertificateNotFound(self._filename) from error
        response = json_answer(200, {"md5sum": digest})
        response.headers["ETag"] = digest
        return response

    def _put(self, request: Request) -> Response:
        data = uploaded_file(request)
        self._certificates.put(
            self._id(),
            self._filename,
            data,
            instance_must_exist=False,
            rules=ANY_CONTENT,
            expected=expected_by(request),
        )
        return tagged(ok(200), data)

    def _delete(self, request: Request) -> Response:
        expected = expected_by(request)
        try:
            self._certificates.delete(self._id(), self._filename, ANY_CONTENT, expected)
        except NotFound:
            expected.require(None)
            # Whoever deletes again after a time-out wants to hear that it is gone.
            return ok(200)
        return ok(200)

    def _id(self) -> str:
        return parse_uuid("id", self._given_id)
