# SPDX-License-Identifier: Apache-2.0
"""Finishes or undoes what was under way with an instance when the agent ended."""

from __future__ import annotations

from collections.abc import Callable

from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.operations import DELETE, Operations, has_touched
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD, make_again
from amphora.core.workloads.changes import Activation, finish_upload
from amphora.core.workloads.haproxy import HaproxyEngine
from amphora.core.workloads.haproxy_files import InstanceLayout
from amphora.system import files


def settle(
    engine: HaproxyEngine,
    operations: Operations,
    layout: InstanceLayout,
    delete: Callable[[InstanceLayout], None],
) -> None:
    """Finish or undo the interrupted change of an instance, if there is one, and log which. Safe to repeat.

    A change that had touched nothing is forgotten. A service that should run is reloaded from the stored
    configuration or, where that cannot be proven, from the proven one; its traffic goes on meanwhile. A
    stopped one stays stopped.

    :raises AmphoraError: it could neither be finished nor undone.
    """
    interrupted = operations.interrupted(layout.instance_id)
    if interrupted is None:
        engine.unstage(layout)
        return
    state, outcome = OperationState.UNDONE, "nothing had been changed"
    if has_touched(interrupted):
        state, outcome = _finish(engine, operations, layout, interrupted, delete)
    elif interrupted.kind == UPLOAD and not layout.stored.exists():
        delete(layout)
    engine.unstage(layout)
    operations.settle(interrupted, state, outcome)


def _finish(
    engine: HaproxyEngine,
    operations: Operations,
    layout: InstanceLayout,
    interrupted: Operation,
    delete: Callable[[InstanceLayout], None],
) -> tuple[OperationState, str]:
    if interrupted.kind == UPLOAD:
        finish_upload(layout)
        return OperationState.DONE, "the upload is stored"
    if interrupted.kind == DELETE:
        delete(layout)
        return OperationState.DONE, "nothing of it is left"
    if interrupted.kind == STOP:
        engine.stop(layout)
        return OperationState.DONE, "it is stopped"
    return _finish_activation(engine, operations, layout, interrupted)


def _finish_activation(
    engine: HaproxyEngine, operations: Operations, layout: InstanceLayout, interrupted: Operation
) -> tuple[OperationState, str]:
    if engine.status(layout).state.is_at_rest:
        return OperationState.UNDONE, Activation(engine, layout, START).restore()
    # What a further failure goes back to is the proven configuration, not the one that was cut off.
    engine.restore_files(layout)
    engine.unstage(layout)
    configuration = files.read_if_present(layout.stored)
    return make_again(
        operations, interrupted, Activation(engine, layout, RELOAD), configuration, layout.proven
    )
