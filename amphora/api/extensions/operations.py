# SPDX-License-Identifier: Apache-2.0
"""Changes that were made or attempted, and how far each has come."""

from __future__ import annotations

from datetime import UTC, datetime

from webob import Request, Response

from amphora.api.responses import json_response
from amphora.core.changes.journal import Operation
from amphora.core.changes.operations import Operations


class OperationHandlers:
    """``/extensions/operations``."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def all(self, _request: Request) -> Response:
        """Return all changes that are remembered."""
        known = [operation_document(operation) for operation in self._operations.all()]
        return json_response(200, {"operations": known})

    def one(self, _request: Request, identity: str) -> Response:
        """Return one change."""
        return json_response(200, operation_document(self._operations.get(identity)))


def operation_document(operation: Operation) -> dict[str, object]:
    """Return the document of a change, the same wherever changes are reported."""
    return {
        "id": operation.identity,
        "kind": operation.kind,
        "target": operation.target,
        "state": operation.state.value,
        "steps": [{"name": step.name, "seconds": step.seconds} for step in operation.steps],
        "began": timestamp(operation.began),
        "reason": operation.reason,
        "evidence": operation.evidence,
    }


def timestamp(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, to the millisecond.

    :param seconds: since the epoch.
    """
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
