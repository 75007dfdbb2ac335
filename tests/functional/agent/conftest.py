# SPDX-License-Identifier: Apache-2.0
"""A real agent with real haproxy processes, on loopback."""

import shutil
from pathlib import Path

import pytest

from amphora.haproxy.program import HaproxyProgram
from amphora.system.command import SEARCH_PATH, CommandRunner
from amphora.testing.agent import AgentProcess
from amphora.testing.member import Member


@pytest.fixture
def capabilities():
    """What the haproxy of this machine can do."""
    return HaproxyProgram(Path(shutil.which("haproxy", path=SEARCH_PATH)), CommandRunner()).refresh()


@pytest.fixture
def stopped_agent(memory_dir):
    agent = AgentProcess(memory_dir)
    yield agent
    agent.clean_up()


@pytest.fixture
def agent(stopped_agent):
    stopped_agent.start()
    return stopped_agent


@pytest.fixture
def member():
    member = Member()
    yield member
    member.close()
