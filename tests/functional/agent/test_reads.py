# SPDX-License-Identifier: Apache-2.0
"""Reading starts no process, however often and of whatever."""

import sys
from pathlib import Path

from amphora.testing.agent import AgentProcess, free_port
from tests.support.listeners import configuration, listener_id

ONE = listener_id(1)
SCRIPT = Path(__file__).parents[2] / "support" / "forks_counted.py"


def test_no_read_forks(memory_dir, member, monkeypatch):
    forks = memory_dir / "forks"
    forks.touch()
    monkeypatch.setenv("AMPHORA_TEST_FORKS", str(forks))
    agent = AgentProcess(memory_dir, command=[sys.executable, str(SCRIPT)])
    agent.start()
    try:
        agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port))
        agent.act(ONE, "start")
        after_changes = forks.stat().st_size
        assert after_changes > 0, "the counter counts nothing"
        one = f"/v0.1/listeners/{ONE}"
        own = [f"/extensions/{name}" for name in ("drift", "instances", f"instances/{ONE}", "metrics")]
        listeners = ("/v0.1/listeners", one, f"{one}/haproxy", f"{one}/certificates/a.pem")
        for path in ("/", "/info", *listeners, *own):
            agent.call("GET", path)
        assert forks.stat().st_size == after_changes
    finally:
        agent.clean_up()
