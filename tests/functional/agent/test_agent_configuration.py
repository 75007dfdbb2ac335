# SPDX-License-Identifier: Apache-2.0
"""A controller replaces the configuration file of a running agent."""

import pytest

from amphora.testing.agent_client import AMPHORA_ID

REFUSED = "Unable to update amphora-agent configuration."


@pytest.fixture
def pushed(agent):
    """The file in use as text, and a function that pushes it with some words replaced."""
    text = agent.config_path.read_text()

    def push(old="", new=""):
        return agent.call("PUT", "/1.0/config", text.replace(old, new).encode())

    push.text = text
    return push


def test_what_can_be_taken_up_is_in_force_at_once(agent, pushed):
    for _ in range(2):
        answer = pushed("[network]", "[controller_worker]\nloadbalancer_topology = ACTIVE_STANDBY\n[network]")
        assert (answer.status, answer.json) == (202, {"message": "OK"})
        assert agent.call("GET", "/v0.1/topology").json["topology"] == "ACTIVE-STANDBY"
    assert pushed("[amphora_agent]", "[amphora_agent]\nallowed_client_names = somebody-else").status == 202
    assert agent.call("GET", "/1.0/info").status == 401
    assert agent.stop() == 0
    agent.start()
    assert agent.call("GET", "/1.0/info").status == 401, "the next start reads the same file"
    agent.config_path.write_text(pushed.text)
    agent.stop()
    agent.start()


def test_who_this_amphora_is_does_not_change_while_it_runs(agent, pushed):
    other = AMPHORA_ID.replace("6", "7")
    assert pushed(AMPHORA_ID, other).status == 202
    assert agent.call("GET", "/v0.1/info").json["uuid"] == AMPHORA_ID
    agent.stop()
    agent.start()
    assert agent.call("GET", "/v0.1/info").json["uuid"] == other


UNUSABLE = [
    ("[network]", "[health_manager]\nheartbeat_key = pa$word\n[network]", "[health_manager] heartbeat_key"),
    ("bind_port = ", "bind_port = many", "[haproxy_amphora] bind_port"),
    ("[network]", "no section and no value", "cannot be read"),
    ("[network]", "[DEFAULT]\ndebug = perhaps\n[network]", "cannot be used"),
    ("agent_server_ca = ", "agent_server_ca = /nowhere", "/nowhere"),
]


def test_a_file_that_the_agent_could_not_start_with_is_refused(agent, pushed):
    for old, new, words in UNUSABLE:
        answer = pushed(old, new)
        assert (answer.status, answer.json["message"]) == (500, REFUSED)
        assert words in answer.json["details"]
        assert "pa$word" not in answer.json["details"]
        assert agent.config_path.read_text() == pushed.text
    assert [path.name for path in agent.directory.glob("*.conf*")] == [agent.config_path.name]
    assert agent.stop() == 0
    agent.start()


def test_a_key_in_a_file_that_is_refused_is_told_nowhere(agent, pushed):
    for line in ("heartbeat_key = a$SECRET", "heartbeat_key SECRET", " SECRET", "=SECRET", "[SECRET"):
        answer = pushed("[network]", f"[health_manager]\n{line}\n[network]")
        number = pushed.text.splitlines().index("[network]") + 2
        assert answer.status == 500
        assert f"line {number}" in answer.json["details"]
        assert agent.config_path.name in answer.json["details"]
        assert b"SECRET" not in answer.body
    assert b"SECRET" not in agent.call("GET", "/extensions/operations").body
    journals = [path.read_text() for path in (agent.base_path / "operations").iterdir()]
    assert journals
    assert "SECRET" not in "".join([*journals, agent.log_path.read_text()])
