# SPDX-License-Identifier: Apache-2.0
"""Certificates of a listener in API v0.1."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.preconditions import expected_by
from amphora.api.request import parse_uuid, uploaded_file
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer, ok
from amphora.api.v0_1.wording import listener_wording
from amphora.core.haproxy.certificates import NAMED_PAIRS, CertificateRules, Certificates

#: Legacy controllers send lists of certificates, authorities and revocation lists by the same way.
_LEGACY = CertificateRules(NAMED_PAIRS.filename, pairs_only=False)


class CertificatesController(Resource):
    """``/listeners/:listener/certificates``: a branch without an answer of its own."""

    def __init__(self, certificates: Certificates, given_id: str, is_legacy: bool) -> None:
        self._certificates = certificates
        self._given_id = given_id
        self._is_legacy = is_legacy

    def child(self, segment: str) -> Resource:
        """Return the certificate with this file name."""
        return CertificateController(self._certificates, self._given_id, segment, self._is_legacy)


class CertificateController(Resource):
    """``/listeners/:listener/certificates/:filename.pem``."""

    def __init__(self, certificates: Certificates, given_id: str, filename: str, is_legacy: bool) -> None:
        self._certificates = certificates
        self._given_id = given_id
        self._filename = filename
        self._is_legacy = is_legacy

    def handlers(self) -> dict[str, Handler]:
        """The three sections on SSL certificate PEM files."""
        return {"GET": self._get, "PUT": self._put, "DELETE": self._delete}

    def _get(self, _request: Request) -> Response:
        with listener_wording():
            digest = self._certificates.digest(self._listener_id(), self._filename)
        response = json_answer(200, {"md5sum": digest})
        response.headers["ETag"] = digest
        return response

    def _put(self, request: Request) -> Response:
        with listener_wording():
            self._certificates.put(
                self._listener_id(),
                self._filename,
                uploaded_file(request),
                instance_must_exist=not self._is_legacy,
                rules=_LEGACY if self._is_legacy else NAMED_PAIRS,
                expected=expected_by(request),
            )
        return ok(201)

    def _delete(self, request: Request) -> Response:
        with listener_wording():
            self._certificates.delete(self._listener_id(), self._filename, expected=expected_by(request))
        return ok(200)

    def _listener_id(self) -> str:
        return parse_uuid("listener", self._given_id)
