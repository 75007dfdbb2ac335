# SPDX-License-Identifier: Apache-2.0
"""The changes that were made or tried, and how far each has come."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.extensions.times import written
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer
from amphora.core.changes.journal import Operation
from amphora.core.changes.operations import Operations


class OperationsController(Resource):
    """``/extensions/operations``."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def child(self, segment: str) -> Resource:
        """Return one change, whether it is known or not."""
        return _OperationController(self._operations, segment)

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        known = [operation_document(operation) for operation in self._operations.all()]
        return json_answer(200, {"operations": known})


class _OperationController(Resource):
    """``/extensions/operations/{id}``."""

    def __init__(self, operations: Operations, identity: str) -> None:
        self._operations = operations
        self._identity = identity

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        return json_answer(200, operation_document(self._operations.get(self._identity)))


def operation_document(operation: Operation) -> dict[str, object]:
    """Return a change as it is told everywhere."""
    return {
        "id": operation.identity,
        "kind": operation.kind,
        "target": operation.target,
        "state": operation.state.value,
        "steps": [{"name": step.name, "seconds": step.seconds} for step in operation.steps],
        "began": written(operation.began),
        "reason": operation.reason,
        "evidence": operation.evidence,
    }
