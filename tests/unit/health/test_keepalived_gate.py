# SPDX-License-Identifier: Apache-2.0
import os
import sys

import pytest

from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.health.keepalived_gate import keepalived_is_missing


@pytest.fixture
def layout(tmp_path):
    layout = VrrpFiles(tmp_path)
    layout.directory.mkdir()
    return layout


def test_without_a_configuration_nothing_should_run(layout):
    assert not keepalived_is_missing(layout)
    layout.pid_file.write_text("1\n")
    assert not keepalived_is_missing(layout)


@pytest.mark.parametrize("kind", ["stored", "rendered"])
@pytest.mark.parametrize("pid", [None, "", "0", "99999999", "text"])
def test_a_missing_or_dead_process_withholds(layout, kind, pid):
    getattr(layout, kind).touch()
    if pid is not None:
        layout.pid_file.write_text(pid)
    assert keepalived_is_missing(layout)


def test_a_process_that_only_inherited_the_number_withholds(layout):
    layout.stored.touch()
    layout.pid_file.write_text(f"{os.getpid()}\n")
    assert keepalived_is_missing(layout)


@pytest.mark.real_commands
@pytest.mark.parametrize("name", ["agent.conf", "octavia-keepalived.conf"])
def test_a_process_that_reads_a_configuration_there_lets_the_heartbeat_go(layout, name):
    import subprocess

    layout.stored.touch()
    argv = [sys.executable, "-c", "print(flush=True); input()", "-f", str(layout.directory / name)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        layout.pid_file.write_text(f"{process.pid}\n")
        assert not keepalived_is_missing(layout)
        process.communicate(b"\n")
    assert keepalived_is_missing(layout)
