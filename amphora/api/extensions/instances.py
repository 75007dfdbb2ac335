# SPDX-License-Identifier: Apache-2.0
"""haproxy instances, each with its processes."""

from __future__ import annotations

from webob import Request, Response

from amphora.api.extensions.operations import operation_document, timestamp
from amphora.api.responses import json_response
from amphora.core.changes.journal import Operation
from amphora.core.changes.operations import Operations
from amphora.core.workloads.haproxy_processes import InstanceProcesses, ProcessReader, limits_of
from amphora.system.processes import ProcessIdentity


class InstanceHandlers:
    """``/extensions/instances``."""

    def __init__(self, processes: ProcessReader, operations: Operations) -> None:
        self._processes = processes
        self._operations = operations

    def all(self, _request: Request) -> Response:
        """Return all instances."""
        latest = self._latest()
        known = [self._document(each, latest) for each in self._processes.all()]
        return json_response(200, {"instances": known})

    def one(self, _request: Request, instance_id: str) -> Response:
        """Return one instance."""
        return json_response(200, self._document(self._processes.one(instance_id.lower()), self._latest()))

    def _latest(self) -> dict[str, Operation]:
        return {operation.target: operation for operation in self._operations.all()}

    def _document(self, instance: InstanceProcesses, latest: dict[str, Operation]) -> dict[str, object]:
        limits, last = limits_of(instance.master), latest.get(instance.id)
        ends_workers = instance.master is not None and limits.reloads is None
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
                "haproxy_max_old_workers": self._processes.max_old_workers if ends_workers else None,
            },
            "last_operation": None if last is None else operation_document(last),
        }


def _process(process: ProcessIdentity | None) -> dict[str, object] | None:
    if process is None:
        return None
    return {"pid": process.pid, "began": timestamp(process.started_at().timestamp())}
