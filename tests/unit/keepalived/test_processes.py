# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from amphora.keepalived.processes import KeepalivedProcesses
from amphora.system.processes import command_line, identify


@pytest.fixture
def processes(short_dir):
    """As if this very process, by its own last argument, were keepalived."""
    own = Path(command_line(os.getpid())[-1])
    return KeepalivedProcesses(
        short_dir / "main.pid", short_dir / "vrrp.pid", own, own.with_name("of-others")
    )


def test_a_process_with_our_configuration_counts(processes):
    processes.pid_file.write_text(f"{os.getpid()}\n")
    assert processes.main() == identify(os.getpid())
    assert processes.vrrp() is None


@pytest.mark.parametrize("content", ["1\n", "999999999\n", "x\n"])
def test_others_do_not(processes, content):
    processes.vrrp_pid_file.write_text(content)
    assert processes.vrrp() is None


def test_only_stale_pid_files_are_removed(processes):
    processes.pid_file.write_text(f"{os.getpid()}\n")
    processes.vrrp_pid_file.write_text("1\n")
    processes.remove_stale_pid_files()
    assert processes.pid_file.exists()
    assert not processes.vrrp_pid_file.exists()
    processes.remove_stale_pid_files()


def test_a_pid_file_being_written_is_left(processes):
    processes.pid_file.write_text("")
    processes.remove_stale_pid_files()
    assert processes.pid_file.exists()


def test_one_that_another_agent_has_started_is_told_and_its_pid_file_kept(short_dir, processes):
    theirs = KeepalivedProcesses(
        processes.pid_file, processes.vrrp_pid_file, short_dir / "ours", processes.configuration
    )
    processes.pid_file.write_text(f"{os.getpid()}\n")
    theirs.remove_stale_pid_files()
    assert theirs.main() == theirs.foreign() == identify(os.getpid())
    assert processes.foreign() is None
