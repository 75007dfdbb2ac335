# SPDX-License-Identifier: Apache-2.0
"""The lock that agent and init script share."""

import contextlib
import fcntl
import threading

import pytest

from amphora.drivers.process_manager.launcher import StartCancelled
from amphora.drivers.process_manager.sysvinit import script_lock
from amphora.errors import ServiceError


@contextlib.contextmanager
def locked_by_another(path):
    """Hold the lock by another open file, as another process does."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield stream


def test_is_held_while_the_context_lasts(tmp_path):
    path = tmp_path / "lock"
    with script_lock(path, 0, lambda: False), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_another_holder_is_waited_for_so_long_only(tmp_path):
    path = tmp_path / "lock"
    with (
        locked_by_another(path),
        pytest.raises(ServiceError, match="held by another process for 0.1 s"),
        script_lock(path, 0.1, lambda: False),
    ):
        pass


def test_waiting_can_be_cancelled(tmp_path):
    path = tmp_path / "lock"
    with locked_by_another(path), pytest.raises(StartCancelled), script_lock(path, 60, lambda: True):
        pass


def test_lock_is_taken_once_it_is_free(tmp_path):
    path, asked = tmp_path / "lock", threading.Event()
    with locked_by_another(path) as other:

        def let_go():
            asked.wait(10)
            fcntl.flock(other, fcntl.LOCK_UN)

        releaser = threading.Thread(target=let_go)
        releaser.start()
        with script_lock(path, 10, lambda: bool(asked.set())):
            assert asked.is_set()
        releaser.join()


def test_place_that_cannot_hold_a_lock_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ServiceError, match="file/lock could not be made|directory .*/file could not be made"),
        script_lock(tmp_path / "file/lock", 0, lambda: False),
    ):
        pass
