# SPDX-License-Identifier: Apache-2.0
"""What changes to a service have in common, whichever program it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from amphora.core.changes.journal import Operation, OperationState
from amphora.core.changes.operations import DELETE, AlreadyInEffect, Operations, RepeatedChange, Steps
from amphora.errors import AmphoraError, OperationFailed, StorageError
from amphora.system import files

LOG = logging.getLogger(__name__)

UPLOAD, START, RELOAD, STOP = "upload", "start", "reload", "stop"


def discard_upload(stored: Path, directory: Path, unstage: Callable[[], object]) -> str:
    """Forget what is staged, and the directory too if it was made for that; say what is the case."""
    known = stored.exists()
    unstage()
    if not known and files.is_empty_directory(directory):
        files.remove_tree(directory)
    return "The stored configuration is what it was." if known else "Nothing is stored, as before."


def restore_stored(stored: Path, proven: Path, kept: Path, mode: int = 0o600) -> str:
    """Store the proven configuration again, if there is one; say what is the case.

    :param kept: a copy of it, which needs no room on the disk; it may be gone.
    """
    data = files.read_if_present(proven)
    if data is None:
        return "The uploaded configuration stays stored, as none was ever proven to run."
    if kept.exists():
        files.rename(kept, stored)
    elif data != files.read_if_present(stored):
        files.write_atomically(stored, data, mode)
    return "The last proven configuration is stored again."


def make_again(
    operations: Operations,
    interrupted: Operation,
    again: RepeatedChange,
    configuration: bytes | None,
    proven: Path,
) -> tuple[OperationState, str]:
    """Make a start or reload that was cut off once more; return what it is now, and what is the case.

    One whose way back failed may have had the proven configuration stored again all the same. Then that is
    what is loaded here, and the change is undone.

    :param configuration: what the next start or reload takes.
    :raises AmphoraError: it could neither be made nor undone.
    """
    is_back = interrupted.last_step == "restore" and configuration == files.read_if_present(proven)
    state, outcome = operations.finish(again)
    return OperationState.UNDONE if is_back else state, outcome


def already_in_effect(target: str, unstage: Callable[[], object], outcome: str) -> AlreadyInEffect:
    """Return what tells that a change is made, though not all that it needed could be removed."""
    try:
        unstage()
    except StorageError as error:
        LOG.warning("the next start of the agent cleans up after %s: %s", target, error)
    return AlreadyInEffect(outcome)


@contextmanager
def forgetting_the_gone(operations: Operations, target: str, is_gone: Callable[[], bool]) -> Iterator[None]:
    """Forget the journal of a target of which the change in a ``with`` block has left nothing.

    Else every id that is ever asked for would keep a file. What became of the change is still told.

    :param is_gone: whether nothing of it is left.
    """
    try:
        yield
    except AmphoraError:
        _forget_if(is_gone, operations, target)
        raise
    _forget_if(is_gone, operations, target)


def _forget_if(is_gone: Callable[[], bool], operations: Operations, target: str) -> None:
    try:
        if is_gone():
            operations.forget(target)
    except StorageError as error:
        LOG.warning("the journal of %s, which is gone, is still there: %s", target, error)


def stop_steps(target: str, program: str, end: Callable[[], object], is_at_rest: Callable[[], bool]) -> Steps:
    """Return the steps of a stop. A program that does not end goes on as it was.

    :param end: ends it.
    :param is_at_rest: whether it has ended, and is not to run either.
    """

    def undo() -> str:
        if is_at_rest():
            raise AlreadyInEffect(f"{program} is stopped")
        return f"{program} goes on as it was."

    return Steps(STOP, target, apply=end, restore=undo)


def delete_steps(
    target: str,
    program: str,
    *,
    end: Callable[[], object],
    remove_files: Callable[[], object],
    is_at_rest: Callable[[], bool],
    is_gone: Callable[[], bool],
) -> Steps:
    """Return the steps of a delete.

    :param is_gone: whether no file is left.
    """

    def undo() -> str:
        if is_gone():
            raise AlreadyInEffect("nothing of it is left")
        if is_at_rest():
            # What has ended is not started again because something else of it has not.
            raise OperationFailed(f"{program} has ended, but files of {target} are left")
        return f"{program} goes on as it was."

    return Steps(DELETE, target, apply=end, commit=remove_files, restore=undo)
