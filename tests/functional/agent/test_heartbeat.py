# SPDX-License-Identifier: Apache-2.0
"""A real agent's heartbeats, as controllers receive them."""

import os
import re
import signal
import socket

import pytest

from amphora.testing.agent import AMPHORA_ID, free_port
from tests.support.heartbeats import Receiver
from tests.support.listeners import MEMBER, POOL, configuration, listener_id
from tests.support.traffic import request_once

ONE = listener_id(1)


@pytest.fixture
def receivers():
    made = [Receiver(), Receiver(key="the next key, with & in it")]
    yield made
    for receiver in made:
        receiver.close()


def options(receiver, **values):
    group = {
        "controller_ip_port_list": receiver.entry,
        "heartbeat_key": receiver.key,
        "heartbeat_interval": 1,
    }
    return {"health_manager": group | values}


def connections(message):
    return message["listeners"].get(ONE, {"stats": {"totconns": 0}})["stats"]["totconns"]


def count(receiver, wanted):
    """Return the connections told until so many have been, and with one message more."""
    messages = []
    while sum(map(connections, messages)) < wanted:
        messages.append(receiver.next())
    messages.append(receiver.next())
    return sum(map(connections, messages))


def is_serving(message):
    return message["listeners"].get(ONE, {}).get("status") == "OPEN"


def test_an_agents_heartbeat_from_start_to_the_next_agent(stopped_agent, member, receivers):
    agent, receiver, port = stopped_agent, receivers[0], free_port()
    agent.configure(options(receiver))
    agent.start()
    first = receiver.next()
    assert (first["id"], first["seq"], first["listeners"]) == (AMPHORA_ID, 0, {})
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}"], member.port))
    assert agent.act(ONE, "start").status == 202
    message = receiver.until(is_serving)[-1]
    assert message["pools"] == {POOL: {"status": "UP", "members": {MEMBER: "no check"}}}
    for _ in range(3):
        assert request_once(port) is None
    assert count(receiver, 3) == 3
    agent.kill()
    for _ in range(2):
        assert request_once(port) is None
    agent.start()
    assert count(receiver, 2) == 2
    assert agent.act(ONE, "reload").status == 202
    assert request_once(port) is None
    assert count(receiver, 1) == 1
    agent.act(ONE, "stop")
    receiver.until(lambda message: message["listeners"] == {})


def test_controllers_and_key_change_without_a_restart(stopped_agent, receivers):
    agent, (old, new) = stopped_agent, receivers
    agent.configure(options(old))
    agent.start()
    old.next()
    agent.configure(options(new, heartbeat_interval=3600))
    os.kill(agent.pid, signal.SIGHUP)
    # The second is not overdue: the change alone has sent the first.
    assert new.next()["seq"] > 0
    agent.stop()
    assert not any(receiver.key in agent.log_path.read_text() for receiver in receivers)
    assert "takes effect when the agent is restarted" not in agent.log_path.read_text()


def test_an_agent_whose_keepalived_does_not_run_sends_nothing(stopped_agent, receivers):
    agent, receiver = stopped_agent, receivers[0]
    configuration_file = agent.base_path / "vrrp" / "octavia-keepalived.conf"
    configuration_file.parent.mkdir(parents=True)
    configuration_file.write_text("vrrp_instance x {\n interface lo\n virtual_router_id 1\n}\n")
    agent.configure(options(receiver))
    agent.start()
    with pytest.raises(socket.timeout):
        receiver.next(timeout=3)
    configuration_file.unlink()
    assert receiver.next()["seq"] == 0


def test_what_has_come_apart_is_counted_in_the_log_of_the_heartbeat(stopped_agent, member, receivers):
    agent, receiver = stopped_agent, receivers[0]
    agent.configure(options(receiver) | {"drift": {"interval": 1}})
    agent.start()
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port))
    assert agent.act(ONE, "start").status == 202
    receiver.until(is_serving)
    stored = agent.base_path / ONE / "haproxy.cfg"
    proven = stored.read_bytes()
    stored.write_bytes(proven + b"# by hand\n")
    until_logged(agent, receiver, "health.heartbeat drift: configs 1")
    stored.write_bytes(proven)
    until_logged(agent, receiver, "health.heartbeat drift: recovered")
    log = agent.log_path.read_text()
    assert log.count("health.heartbeat drift: configs 1") == 1
    assert len(re.findall("heartbeat 0 sent, [0-9]+ bytes; drift: none", log)) == 1


def until_logged(agent, receiver, words):
    """Take heartbeats until the log has these words."""
    receiver.until(lambda _message: words in agent.log_path.read_text(), timeout=60)
