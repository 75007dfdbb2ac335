# SPDX-License-Identifier: Apache-2.0
"""A child process for what may hang or crash: its result, its end, and that nothing of it stays."""

import os
import signal
import threading
import time

import pytest

from amphora.testing.conformance_child import ChildLost, in_child, time_limit
from amphora.testing.conformance_reasons import BlockedTooLong

pytestmark = pytest.mark.real_commands


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_result_comes_from_another_process_without_streams():
    pid, group, streams = in_child(
        lambda _: [
            os.getpid(),
            os.getpgrp(),
            [os.readlink(f"/proc/self/fd/{number}") for number in range(3)],
        ],
        10,
    )
    assert pid == group != os.getpid()
    assert streams == ["/dev/null"] * 3
    assert not runs(pid)


def test_progress_is_not_the_result():
    assert in_child(lambda progress: [progress(10), progress(10), "done"][-1], 10) == "done"


def test_progress_sets_the_limit_for_what_follows():
    def stop_for_ever(progress):
        progress(0.5)
        os.kill(os.getpid(), signal.SIGSTOP)

    with pytest.raises(ChildLost, match="blocked longer than 0.5 s in a way that cannot be interrupted"):
        in_child(stop_for_ever, 600)


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os._exit(7), "which ended with status 7"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "which was killed by SIGKILL"),
    ],
)
def test_a_lost_child_is_reported_with_its_end(end, how):
    with pytest.raises(ChildLost, match=how):
        in_child(lambda _: end(), 10)


def test_an_error_in_the_child_is_printed_and_leaves_no_result(capfd):
    with pytest.raises(ChildLost, match="which ended with status 1"):
        in_child(lambda _: 1 / 0, 10)
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_processes_that_a_child_leaves_are_killed():
    def leave_one(_):
        grandchild = os.fork()
        if grandchild == 0:
            os.setsid()
            time.sleep(60)
            os._exit(0)
        return grandchild

    assert not runs(in_child(leave_one, 10))


def test_a_wait_is_interrupted_and_names_its_limit():
    def wait(_):
        try:
            with time_limit(0.05):
                threading.Event().wait()
        except BlockedTooLong as error:
            return str(error)

    assert in_child(wait, 10) == "blocked longer than 0.05 s"
