# SPDX-License-Identifier: Apache-2.0
"""Load balancers of API 1.0, each one instance, and all that their TLS needs as files."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import choose_action, expected_by, parse_uuid, uploaded_file
from amphora.api.responses import digest_response, ok, tagged, text_response
from amphora.api.v1_0.wording import absence_is_success, participle
from amphora.core.services import CoreServices
from amphora.core.workloads.certificates import ANY_CONTENT
from amphora.core.workloads.lvs import LvsWorkload
from amphora.errors import CertificateNotFound, InstanceNotFound, InstanceWasGone
from amphora.models import ActionKind

#: What an action on LVS did, whatever the state before it: a reload is always a restart.
_DONE_BY_LVS = {"start": "started", "stop": "stoped", "reload": "restarted"}


class LoadBalancerHandlers:
    """``/loadbalancer``. Certificates may be uploaded before the load balancer's configuration."""

    def __init__(self, core: CoreServices) -> None:
        self._core = core

    def configuration(self, _request: Request, given_id: str) -> Response:
        """Return the stored configuration."""
        data = self._core.workloads.haproxy(_id(given_id)).configuration()
        return tagged(text_response(data), data)

    def upload(self, request: Request, given_amphora_id: str, given_id: str) -> Response:
        """Store a configuration."""
        amphora_id, load_balancer_id = parse_uuid("amphora_id", given_amphora_id), _id(given_id)
        data, expected = uploaded_file(request), expected_by(request)
        # A load balancer whose listeners are all disabled has no frontend.
        instance = self._core.workloads.haproxy(load_balancer_id)
        instance.upload(data, amphora_id, may_be_idle=True, expected=expected)
        return tagged(ok(202), data)

    def act(self, _request: Request, given_id: str, word: str) -> Response:
        """Start, stop or reload a load balancer, or a UDP or SCTP listener."""
        word = choose_action(word, {word: word for word in ("start", "stop", "reload")})
        workload = self._core.workloads.workload(_id(given_id))
        try:
            kind = workload.actions[word]().kind
        except InstanceWasGone:
            kind = ActionKind.STOPPED
        if isinstance(workload, LvsWorkload):
            return ok(202, f"keepalivedlvs listener {workload.id} {_DONE_BY_LVS[word]}")
        if kind is ActionKind.STARTED:
            return ok(202, f"Configuration file is valid\nhaproxy daemon for {workload.id} started")
        return ok(202, f"Listener {workload.id} {participle(kind)}")

    def certificate_digest(self, _request: Request, given_id: str, filename: str) -> Response:
        """Return the digest of a file, never its content."""
        try:
            return digest_response(self._core.certificates.digest(_id(given_id), filename, ANY_CONTENT))
        except InstanceNotFound as error:
            raise CertificateNotFound(filename) from error

    def put_certificate(self, request: Request, given_id: str, filename: str) -> Response:
        """Store a file."""
        data = uploaded_file(request)
        self._core.certificates.put(
            _id(given_id),
            filename,
            data,
            instance_must_exist=False,
            rules=ANY_CONTENT,
            expected=expected_by(request),
        )
        return tagged(ok(200), data)

    def delete_certificate(self, request: Request, given_id: str, filename: str) -> Response:
        """Delete a file."""
        expected = expected_by(request)
        with absence_is_success(expected):
            self._core.certificates.delete(_id(given_id), filename, ANY_CONTENT, expected)
        return ok(200)


def _id(given_id: str) -> str:
    return parse_uuid("id", given_id)
