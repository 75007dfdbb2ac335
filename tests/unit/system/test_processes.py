# SPDX-License-Identifier: Apache-2.0
import os
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amphora.system import processes
from amphora.system.processes import ProcessIdentity, bytes_read


def test_this_process_is_alive_and_started_in_the_past():
    me = processes.identify(os.getpid())
    assert me is not None
    assert me.is_alive()
    assert me.started_at() <= datetime.now(UTC)


def test_another_start_time_is_another_process():
    me = processes.identify(os.getpid())
    assert not ProcessIdentity(me.pid, me.start_ticks + 1).is_alive()


def test_there_is_no_process_beyond_the_largest_id():
    assert processes.identify(2**22 + 1) is None
    assert processes.parent_of(2**22 + 1) is None
    assert processes.command_line(2**22 + 1) == ()


def test_parents_know_their_children():
    assert os.getpid() in processes.children_of(os.getppid())
    assert processes.parent_of(os.getpid()) == os.getppid()


def test_command_line_is_split_as_it_was_given():
    assert processes.command_line(os.getpid())[0]


@pytest.mark.parametrize(
    ("content", "pid"), [("17\n", 17), ("17\n18\n", 17), ("", None), ("abc", None), ("-3", None), ("0", None)]
)
def test_the_first_line_of_a_pid_file_counts(tmp_path, content, pid):
    path = tmp_path / "pid"
    path.write_text(content)
    assert processes.read_pid_file(path) == pid


def test_a_missing_pid_file_gives_none(tmp_path):
    assert processes.read_pid_file(tmp_path / "none") is None


@given(data=st.binary(max_size=64))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_pid_file_give_a_positive_number_or_none(tmp_path, data):
    path = tmp_path / "pid"
    path.write_bytes(data)
    pid = processes.read_pid_file(path)
    assert pid is None or pid > 0


def test_bytes_read_are_counted(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x" * 5000)
    before = bytes_read(os.getpid())
    path.read_bytes()
    assert bytes_read(os.getpid()) - before >= 5000
    assert bytes_read(2**22 + 1) is None
