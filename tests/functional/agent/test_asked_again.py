# SPDX-License-Identifier: Apache-2.0
"""Keys and conditions of requests over the wire, and across the agent's sudden end."""

from amphora.testing.agent import AMPHORA_ID, AgentProcess, free_port
from tests.support.listeners import configuration, listener_id

ONE = listener_id(1)
UPLOAD = f"/v0.1/listeners/{AMPHORA_ID}/{ONE}/haproxy"


def test_an_answer_outlives_the_agent_and_a_condition_holds(memory_dir, member):
    agent = AgentProcess(memory_dir)
    agent.start()
    try:
        body = configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port)
        first = agent.call("PUT", UPLOAD, body, Idempotency_Key="one")
        assert first.status == 201
        changed = body + b"# changed\n"
        tag = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").headers["ETag"]
        assert agent.call("PUT", UPLOAD, changed, If_Match=f'"{tag}"').status == 201
        assert agent.call("PUT", UPLOAD, body, If_Match=f'"{tag}"').status == 412
        agent.kill()
        agent.start()
        again = agent.call("PUT", UPLOAD, body, Idempotency_Key="one")
        assert (again.status, again.body) == (first.status, first.body)
        assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
        assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == changed
        assert agent.call("PUT", UPLOAD, changed, Idempotency_Key="one").status == 409
    finally:
        agent.clean_up()
