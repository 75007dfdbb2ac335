# SPDX-License-Identifier: Apache-2.0
"""The kinds of changes to a service, and what becomes of the journal of one that is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from amphora.core.changes.operations import Operations
from amphora.errors import AmphoraError, StorageError

LOG = logging.getLogger(__name__)

UPLOAD, START, RELOAD, STOP = "upload", "start", "reload", "stop"


@contextmanager
def drop_journal_if_deleted(
    operations: Operations, target: str, is_deleted: Callable[[], bool]
) -> Iterator[None]:
    """Remove the journal of a target of which the change in a ``with`` block has left nothing.

    Otherwise each id that is ever requested would keep a file. The change itself stays known in memory.
    """
    try:
        yield
    except AmphoraError:
        _drop_if(is_deleted, operations, target)
        raise
    _drop_if(is_deleted, operations, target)


def _drop_if(is_deleted: Callable[[], bool], operations: Operations, target: str) -> None:
    try:
        if is_deleted():
            operations.forget(target)
    except StorageError as error:
        LOG.warning("could not remove the journal of %s, which is deleted: %s", target, error)
