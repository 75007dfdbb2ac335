# SPDX-License-Identifier: Apache-2.0
"""The wording of API v0.1, which calls an instance a listener."""

from __future__ import annotations

from amphora import errors
from amphora.api.errors import AS_IN_TABLE, Wording, error_body
from amphora.core.topology import TopologyManager
from amphora.core.workloads.catalog import AnyWorkload
from amphora.core.workloads.lvs import LvsWorkload
from amphora.models import ActionKind, ActionResult

_ALREADY_STOPPED = "is already stopped; nothing was changed"

WORDING = Wording(
    bodies=(
        (
            errors.InstanceNotFound,
            lambda error: error_body("Listener Not Found", f"No listener with UUID: {error.instance_id}"),
        ),
    ),
    defect=AS_IN_TABLE.defect,
    names_methods=True,
)


def listener_sentence(workload: AnyWorkload, result: ActionResult) -> str:
    """Return the result of an action on a listener."""
    if isinstance(workload, LvsWorkload):
        return _udp_listener_sentence(workload.id, result)
    daemon = f"haproxy daemon for {workload.id}"
    if result.kind is ActionKind.STOPPED:
        return f"{daemon} {_ALREADY_STOPPED if result.is_unchanged else 'stopped'}"
    if result.is_unchanged:
        return f"{daemon} already runs (pid {result.pid}); nothing was changed"
    return f"Configuration file is valid\n{daemon} {result.kind.value} (pid {result.pid})\n{result.evidence}"


def keepalived_sentence(result: ActionResult) -> str:
    """Return the result of an action on keepalived."""
    return f"keepalived {_ALREADY_STOPPED if result.is_unchanged else result.kind.value}"


def _udp_listener_sentence(listener_id: str, result: ActionResult) -> str:
    if result.kind is ActionKind.STOPPED:
        return f"{listener_id} is stopped"
    return f"{listener_id} already runs; nothing was changed" if result.is_unchanged else result.evidence


def topology_error(topology: TopologyManager) -> dict[str, str]:
    """Return why the last change of topology failed, as a part of a response; empty unless it did."""
    error = topology.error()
    return {"topology_error": error} if error else {}
