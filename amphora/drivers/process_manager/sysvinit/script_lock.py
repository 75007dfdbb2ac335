# SPDX-License-Identifier: Apache-2.0
"""The lock that the agent and the init script of a service share (flock(1), flock(2))."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from amphora.drivers.process_manager.launcher import StartCancelled
from amphora.errors import ServiceError

_RETRY_INTERVAL = 0.05


@contextlib.contextmanager
def held(path: Path, patience: float, is_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock while the context lasts. The end of the process lets go of it too.

    :param path: of a file that is made where it is missing, and stays.
    :param patience: seconds to wait for another holder.
    :param is_cancelled: asked repeatedly while waiting.
    :raises StartCancelled: it was cancelled.
    :raises ServiceError: the other holder did not let go in time, or the file cannot be made.
    """
    deadline = time.monotonic() + patience
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServiceError(f"{path} cannot be made: {error.strerror}") from error
    try:
        while not _is_taken(descriptor):
            if is_cancelled():
                raise StartCancelled(f"waiting for {path} was cancelled")
            if time.monotonic() >= deadline:
                raise ServiceError(f"{path} was held by another process for {patience:g} s")
            time.sleep(_RETRY_INTERVAL)
        yield
    finally:
        os.close(descriptor)


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
