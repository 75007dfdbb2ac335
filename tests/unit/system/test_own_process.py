# SPDX-License-Identifier: Apache-2.0
import os
import time

from amphora.system.processes import own_process


def test_files_that_are_opened_are_counted():
    before = own_process()
    ends = os.pipe()
    try:
        during = own_process()
    finally:
        for end in ends:
            os.close(end)
    assert during.open_files == before.open_files + 2
    assert own_process().open_files == before.open_files < before.most_files


def test_memory_grows_with_what_is_kept_in_it():
    before = own_process().resident
    kept = bytearray(os.urandom(32 * 1024 * 1024))
    assert own_process().resident >= before + 24 * 1024 * 1024
    assert kept


def test_time_that_is_spent_counts():
    before = own_process()
    while time.process_time() < before.cpu_seconds + 0.05:
        pass
    after = own_process()
    assert after.cpu_seconds >= before.cpu_seconds + 0.05
    assert after.started_at < time.time()
    assert after.threads >= 1
