# SPDX-License-Identifier: Apache-2.0
"""Pid files against running processes: this very one, by a word of its own command line."""

import os
from pathlib import Path

import pytest

from amphora.keepalived.processes import LvsProcesses
from amphora.system.processes import command_line


@pytest.fixture
def find(short_dir):
    def find(*configurations):
        paths = (short_dir / name for name in ("main.pid", "check.pid", "vrrp.pid"))
        main, check, vrrp = paths
        return LvsProcesses(main, check, (vrrp,), configurations)

    return find


OURS = Path(command_line(os.getpid())[0])


def test_a_process_counts_if_it_was_given_one_of_our_files(find):
    processes = find(Path("/another"), OURS)
    assert (processes.main(), processes.checker()) == (None, None)
    processes.pid_file.write_text(f"{os.getpid()}\n")
    assert processes.main().pid == os.getpid()
    assert find(Path("/another")).main() is None


def test_only_stale_pid_files_are_removed(find):
    processes = find(OURS)
    processes.pid_file.write_text(f"{os.getpid()}\n")
    processes.check_pid_file.write_text("1\n")
    processes.others[0].write_text("")
    processes.remove_stale_pid_files()
    left = [path.exists() for path in (processes.pid_file, processes.check_pid_file, *processes.others)]
    assert left == [True, False, True], "one without a number is being written"
    processes.remove_pid_files()
    processes.remove_pid_files()
    assert not processes.pid_file.exists()


def test_a_checker_without_a_pid_file_has_not_begun(find):
    processes = find(OURS)
    assert not processes.checker_began_after(0)
    processes.check_pid_file.touch()
    assert processes.checker_began_after(0)
    assert not processes.checker_began_after(processes.check_pid_file.stat().st_mtime + 1)
