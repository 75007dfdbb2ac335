# SPDX-License-Identifier: Apache-2.0
"""The agent's init script with the real start-stop-daemon(8). Run inside a booted machine."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.functional.service.installed_agent import (
    CONFIG,
    REPOSITORY,
    InstalledAgent,
    must,
    run,
    wait_until,
)

pytestmark = pytest.mark.real_commands

SCRIPT = REPOSITORY / "etc/init.d/amphora-agent"
PID_FILE = Path("/run/amphora-agent.pid")
LOG = Path("/var/log/amphora-agent.log")


def script(verb):
    """Status and output of the script."""
    done = run(str(SCRIPT), verb, timeout=120)
    return done.returncode, done.stdout.strip()


@pytest.fixture
def agent():
    agent = InstalledAgent()
    yield agent
    script("stop")


def pid():
    return int(PID_FILE.read_text())


def test_verbs_do_what_lsb_says(agent):
    assert script("status") == (3, "amphora-agent: does not run")
    assert script("stop")[0] == 0
    assert script("reload") == (7, "amphora-agent: does not run")
    assert script("try-restart")[0] == 0
    assert not PID_FILE.exists()
    assert script("start") == (0, "amphora-agent: started")
    assert agent.serves(), "start returns when it serves"
    assert script("status") == (0, "amphora-agent: runs")
    first = pid()
    assert script("start") == (0, "amphora-agent: runs already")
    assert script("reload")[0] == 0
    wait_until(lambda: "were read again" in LOG.read_text(), "the reload")
    assert pid() == first
    assert script("restart")[0] == 0
    assert pid() != first
    assert agent.serves()
    assert script("stop") == (0, "amphora-agent: stopped")
    assert script("status")[0] == 3
    assert not PID_FILE.exists()


def test_agent_that_died_is_told_and_started_again(agent):
    assert script("start")[0] == 0
    os.kill(pid(), signal.SIGKILL)
    wait_until(lambda: script("status")[0] == 1, "its end")
    assert script("start")[0] == 0
    assert agent.serves()


def test_recycled_pid_is_not_taken_for_the_agent(agent):
    PID_FILE.write_text(f"{os.getpid()}\n")
    assert script("status")[0] == 1
    assert script("stop")[0] == 0
    assert script("start")[0] == 0
    assert agent.serves()


def test_start_that_fails_says_so(agent):
    assert script("nonsense")[0] == 2
    CONFIG.write_text("[drivers]\nprocess_manager = nosuch\n")
    status, said = script("start")
    assert (status, said.splitlines()[-1]) == (1, f"amphora-agent: did not start; see {LOG}")
    assert "process_manager driver 'nosuch' cannot be loaded" in LOG.read_text()
    CONFIG.unlink()
    assert script("start") == (6, f"amphora-agent: {CONFIG} is missing")


def test_header_is_one_that_tools_read():
    must("sh", "-n", str(SCRIPT))
    lines = SCRIPT.read_text().splitlines()
    header = lines[lines.index("### BEGIN INIT INFO") + 1 : lines.index("### END INIT INFO")]
    keys = dict(line.removeprefix("# ").split(":", 1) for line in header)
    assert keys["Provides"].strip() == "amphora-agent"
    assert set(keys) >= {"Required-Start", "Required-Stop", "Default-Start", "Default-Stop"}
