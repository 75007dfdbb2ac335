# SPDX-License-Identifier: Apache-2.0
"""Listeners of API v0.1, each one instance with one frontend, and their certificates."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.request import choose_action, expected_by, parse_uuid, uploaded_file
from amphora.api.responses import digest_response, json_response, ok, tagged, text_response
from amphora.api.v0_1.wording import listener_sentence
from amphora.core.services import CoreServices
from amphora.core.workloads.certificates import NAMED_PAIRS, CertificateRules
from amphora.core.workloads.status import InstanceStatus
from amphora.models import InstanceState

_STATUS = {
    InstanceState.RUNNING: "ACTIVE",
    InstanceState.STOPPED: "STOPPED",
    InstanceState.ERROR: "ERROR",
}


class ListenerHandlers:
    """``/listeners`` and below.

    :param certificate_rules: what may be uploaded as a certificate.
    :param listener_must_exist: whether a certificate is refused before its listener's configuration.
    """

    def __init__(
        self,
        core: CoreServices,
        certificate_rules: CertificateRules = NAMED_PAIRS,
        listener_must_exist: bool = True,
    ) -> None:
        self._core = core
        self._certificate_rules = certificate_rules
        self._listener_must_exist = listener_must_exist

    def all(self, _request: Request) -> Response:
        """Section "Get all listeners' statuses"."""
        return json_response(200, [_summary(status) for status in self._core.status.all()])

    def one(self, _request: Request, given_id: str) -> Response:
        """Section "Get a listener's status"."""
        status = self._core.status.one(_listener_id(given_id))
        pools = [
            {
                "uuid": pool.id,
                "status": pool.health.value,
                "members": [{member: health.value} for member, health in pool.members],
            }
            for pool in status.pools
        ]
        return json_response(200, _summary(status) | {"pools": pools})

    def delete(self, request: Request, given_id: str) -> Response:
        """Section "Delete a listener"."""
        self._core.workloads.delete(_listener_id(given_id), expected_by(request))
        return ok(200)

    def configuration(self, _request: Request, given_id: str) -> Response:
        """Section "Get listener haproxy configuration"."""
        data = self._core.workloads.haproxy(_listener_id(given_id)).configuration()
        return tagged(text_response(data), data)

    def act(self, _request: Request, given_id: str, word: str) -> Response:
        """Section "Start or Stop a listener"."""
        workload = self._core.workloads.workload(_listener_id(given_id))
        action = choose_action(word, workload.actions)
        return ok(202, listener_sentence(workload, action()))

    def upload(self, request: Request, given_amphora_id: str, given_id: str) -> Response:
        """Section "Upload listener haproxy configuration"."""
        amphora_id, listener_id = parse_uuid("amphora_id", given_amphora_id), _listener_id(given_id)
        data, expected = uploaded_file(request), expected_by(request)
        instance = self._core.workloads.haproxy(listener_id)
        return ok(201, instance.upload(data, amphora_id, expected=expected))

    def certificate_digest(self, _request: Request, given_id: str, filename: str) -> Response:
        """Section "Get SSL certificate md5sum"."""
        return digest_response(self._core.certificates.digest(_listener_id(given_id), filename))

    def put_certificate(self, request: Request, given_id: str, filename: str) -> Response:
        """Section "Upload SSL certificate PEM file"."""
        self._core.certificates.put(
            _listener_id(given_id),
            filename,
            uploaded_file(request),
            instance_must_exist=self._listener_must_exist,
            rules=self._certificate_rules,
            expected=expected_by(request),
        )
        return ok(201)

    def delete_certificate(self, request: Request, given_id: str, filename: str) -> Response:
        """Section "Delete SSL certificate PEM file"."""
        self._core.certificates.delete(_listener_id(given_id), filename, expected=expected_by(request))
        return ok(200)


def _listener_id(given_id: str) -> str:
    return parse_uuid("listener", given_id)


def _summary(status: InstanceStatus) -> dict[str, object]:
    return {"status": _STATUS[status.state], "uuid": status.id, "type": status.protocol.value}
