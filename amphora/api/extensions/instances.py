# SPDX-License-Identifier: Apache-2.0
"""The haproxies, each with the processes it consists of."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.extensions.operations import operation_document
from amphora.api.extensions.times import written
from amphora.api.resource import Handler, Resource
from amphora.api.responses import json_answer
from amphora.core.changes.journal import Operation
from amphora.core.changes.operations import Operations
from amphora.core.haproxy.instance_processes import InstanceProcesses, ProcessReader, limits_of
from amphora.system.processes import ProcessIdentity


class InstancesController(Resource):
    """``/extensions/instances``."""

    def __init__(self, processes: ProcessReader, operations: Operations) -> None:
        self._processes = processes
        self._operations = operations

    def child(self, segment: str) -> Resource:
        """Return one instance, whether it is known or not."""
        return _InstanceController(self._processes, self._operations, segment)

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        latest = _latest(self._operations)
        known = [
            _document(each, latest.get(each.id), self._processes.max_old_workers)
            for each in self._processes.all()
        ]
        return json_answer(200, {"instances": known})


class _InstanceController(Resource):
    """``/extensions/instances/{id}``."""

    def __init__(self, processes: ProcessReader, operations: Operations, instance_id: str) -> None:
        self._processes = processes
        self._operations = operations
        self._instance_id = instance_id.lower()

    def handlers(self) -> dict[str, Handler]:
        """GET only."""
        return {"GET": self._get}

    def _get(self, _request: Request) -> Response:
        found = self._processes.one(self._instance_id)
        latest = _latest(self._operations).get(found.id)
        return json_answer(200, _document(found, latest, self._processes.max_old_workers))


def _latest(operations: Operations) -> dict[str, Operation]:
    return {operation.target: operation for operation in operations.all()}


def _document(
    instance: InstanceProcesses, latest: Operation | None, max_old_workers: int | None
) -> dict[str, object]:
    limits = limits_of(instance.master)
    return {
        "id": instance.id,
        "state": instance.state.value,
        "master": _process(instance.master),
        "worker": _process(instance.worker),
        "old_worker_count": len(instance.old_workers),
        "old_workers": [_process(worker) for worker in instance.old_workers],
        "limits": {
            "hard-stop-after": limits.drain_time,
            "mworker-max-reloads": limits.reloads,
            "haproxy_max_old_workers": max_old_workers
            if instance.master and limits.reloads is None
            else None,
        },
        "last_operation": None if latest is None else operation_document(latest),
    }


def _process(process: ProcessIdentity | None) -> dict[str, object] | None:
    if process is None:
        return None
    return {"pid": process.pid, "began": written(process.started_at().timestamp())}
