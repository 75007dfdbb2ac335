# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from amphora.core.agent_files import AgentConfiguration
from amphora.errors import AgentConfigurationFailed, ConfigurationError, OperationFailed


class Agent:
    """Notes what its configuration was when it was told to take it up."""

    def __init__(self, path, operations):
        self.path = path
        path.parent.mkdir(exist_ok=True)
        self.tried = []
        self.taken_up = []
        self.errors = []
        self.configuration = AgentConfiguration(path, self.validate, self.apply, operations)

    def validate(self, path):
        self.tried.append((path, self.path.read_bytes() if self.path.exists() else None))
        if path.read_bytes() == b"bad":
            raise ConfigurationError(f"{path}: bad")

    def apply(self):
        self.taken_up.append(self.path.read_bytes())
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def agent(tmp_path, operations):
    return Agent(tmp_path / "etc" / "agent.conf", operations)


def test_a_file_is_tried_beside_the_one_in_use_and_then_taken_up(agent):
    agent.path.write_bytes(b"old")
    agent.path.chmod(0o644)
    agent.configuration.put(b"new")
    assert agent.tried == [(agent.path.with_name("agent.conf.new"), b"old")]
    assert agent.taken_up == [b"new"]
    assert agent.path.stat().st_mode & 0o777 == 0o644
    assert list(agent.path.parent.iterdir()) == [agent.path]


def test_a_new_file_is_for_its_owner_only(agent):
    agent.configuration.put(b"new")
    assert agent.path.stat().st_mode & 0o777 == 0o600


def test_a_bad_file_changes_nothing_and_is_named_as_its_sender_knows_it(agent):
    agent.path.write_bytes(b"old")
    with pytest.raises(AgentConfigurationFailed, match=rf"^{agent.path}: bad$"):
        agent.configuration.put(b"bad")
    assert (agent.path.read_bytes(), agent.taken_up) == (b"old", [])
    assert list(agent.path.parent.iterdir()) == [agent.path]


@pytest.mark.parametrize("errors", [1, 2])
def test_one_that_cannot_be_taken_up_is_undone(agent, caplog, errors):
    agent.path.write_bytes(b"old")
    agent.errors = [OperationFailed(f"no {number}") for number in range(errors)]
    with pytest.raises(AgentConfigurationFailed, match="^no 0$"):
        agent.configuration.put(b"new")
    assert (agent.path.read_bytes(), agent.taken_up) == (b"old", [b"new", b"old"])
    assert ("no 1" in caplog.text) is (errors == 2)


def test_without_a_file_there_is_nothing_to_replace(agent, operations):
    with pytest.raises(AgentConfigurationFailed, match="--config-file"):
        AgentConfiguration(None, agent.validate, agent.apply, operations).put(b"new")


def test_files_that_come_at_once_take_turns(agent):
    bodies = [f"{number}".encode() for number in range(8)]
    threads = [threading.Thread(target=agent.configuration.put, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(agent.taken_up) == bodies
    assert agent.path.read_bytes() == agent.taken_up[-1]
