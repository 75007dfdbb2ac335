# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from amphora.errors import Busy, StorageError
from amphora.system import files


def test_one_at_a_time(memory_dir):
    path = memory_dir / "below" / "lock"
    with files.exclusive_lock(path, 1.0), pytest.raises(Busy), files.exclusive_lock(path, 0.0):
        pass
    with files.exclusive_lock(path, 0.0):
        assert path.stat().st_mode & 0o777 == 0o600


def test_whoever_waits_comes_next(memory_dir):
    path, inside, order = memory_dir / "lock", threading.Event(), []

    def second():
        with files.exclusive_lock(path, 30.0):
            order.append("second")

    with files.exclusive_lock(path, 1.0):
        thread = threading.Thread(target=second)
        thread.start()
        inside.wait(0.1)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_that_cannot_be_made(memory_dir):
    (memory_dir / "lock").mkdir()
    with pytest.raises(StorageError), files.exclusive_lock(memory_dir / "lock", 0.0):
        pass
