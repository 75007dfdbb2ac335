# SPDX-License-Identifier: Apache-2.0
"""The agent's log under the real logrotate(8), with the file that the package installs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from amphora.testing.agent import AgentProcess

pytestmark = pytest.mark.skipif("os.geteuid() != 0", reason="logrotate sets the owner of the new file")

CONFIGURATION = Path(__file__).parents[3] / "etc/logrotate.d/amphora-agent"
LOG = "/var/log/amphora-agent.log"


@pytest.fixture
def agent(memory_dir):
    agent = AgentProcess(memory_dir, {"DEFAULT": {"log_file": memory_dir / "amphora-agent.log"}})
    agent.start()
    yield agent
    agent.stop()


def rotate(directory):
    """Rotate whatever the size, as at the end of a day."""
    configuration = directory / "logrotate.conf"
    text = CONFIGURATION.read_text()
    assert f"{LOG} {{" in text
    configuration.write_text(text.replace(LOG, str(directory / "amphora-agent.log")))
    configuration.chmod(0o644)
    program = shutil.which("logrotate", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None, "logrotate is not installed"
    state = str(directory / "logrotate.state")
    done = subprocess.run(
        [program, "--force", "--state", state, str(configuration)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def requests_in(path):
    return [line.partition("GET ")[2].split()[0] for line in path.read_text().splitlines() if "GET " in line]


def test_agent_goes_on_in_a_new_file(agent):
    log = agent.directory / "amphora-agent.log"
    agent.call("GET", "/first")
    rotate(agent.directory)
    agent.call("GET", "/second")
    assert requests_in(log.with_name("amphora-agent.log.1")) == ["/first"]
    assert requests_in(log) == ["/second"]
    assert log.stat().st_mode & 0o777 == 0o640
    rotate(agent.directory)
    agent.call("GET", "/third")
    assert requests_in(log) == ["/third"]
    assert (agent.directory / "amphora-agent.log.2.gz").exists()


def test_signal_of_octavias_own_logrotate_file_does_no_harm(agent):
    os.kill(agent.pid, signal.SIGUSR1)
    assert agent.call("GET", "/info").status == 200
