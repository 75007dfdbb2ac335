# SPDX-License-Identifier: Apache-2.0
"""A real agent with real haproxy processes, on loopback."""

import pytest

from amphora.testing.agent import AgentProcess
from amphora.testing.member import Member


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
