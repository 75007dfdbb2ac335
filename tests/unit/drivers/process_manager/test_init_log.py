# SPDX-License-Identifier: Apache-2.0
"""What upstart tells of ends in the kernel's log, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.upstart.initctl import describe_end, read_log

LOG = """\
6,10,100,-;eth1: renamed from ens9
4,11,200,-;init: web main process (13) terminated with status 3
4,12,201,-;init: web main process ended, respawning
4,13,300,-;init: web main process (14) killed by KILL signal
4,14,301,-;init: web pre-start process (15) terminated with status 1
4,15,302,-;init: other main process (16) killed by SEGV signal
12,16,303,-;somebody: init: web main process (17) terminated with status 9
"""


@pytest.mark.parametrize(
    ("job", "pid", "how"),
    [
        ("web", 13, "ended with exit status 3"),
        ("web", 14, "was killed by SIGKILL"),
        ("web", None, "was killed by SIGKILL"),
        ("web", 15, ""),
        ("web", 16, ""),
        ("web", 17, ""),
        ("w.b", 13, ""),
        ("other", 16, "was killed by SIGSEGV"),
    ],
)
def test_finds_the_end_of_one_process(job, pid, how):
    assert describe_end(LOG, job, pid) == how


def test_latest_process_with_an_id_counts():
    assert describe_end(LOG + LOG.replace("status 3", "status 4"), "web", 13) == "ended with exit status 4"


@given(st.text(), st.integers(min_value=1))
def test_any_log_is_read(log, pid):
    describe_end(log, "web", pid)


def test_log_is_read_without_waiting(tmp_path):
    path = tmp_path / "kmsg"
    assert read_log(path) == ""
    path.write_text(LOG * 100)
    assert read_log(path) == LOG * 100
