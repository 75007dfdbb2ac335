# SPDX-License-Identifier: Apache-2.0
"""UDP listeners under /1.0: a real agent and a real keepalived, on a kernel without IPVS.

There keepalived runs configurations without members, and ends over all others. So what can be shown here is
a listener without a pool, one without members, and what becomes of one that cannot run.
"""

import contextlib
import os
import subprocess
from pathlib import Path

import pytest

from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.testing.agent_client import AMPHORA_ID
from amphora.testing.service_bench import wait_until
from tests.support.heartbeats import Receiver
from tests.support.lvs import EMPTY, LISTENER, POOL, member, with_members

UPLOAD = f"/1.0/listeners/{AMPHORA_ID}/{LISTENER}/udp_listener"
STORED = f"/1.0/listeners/{LISTENER}/udp_listener"
ACTION = f"/1.0/loadbalancer/{LISTENER}"


@pytest.fixture
def namespace():
    name = f"amp-lvs-{os.getpid()}"
    yield name
    subprocess.run(["ip", "netns", "del", name], timeout=10, capture_output=True)


@pytest.fixture
def receiver():
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def agent(stopped_agent, namespace, receiver):
    health = {
        "controller_ip_port_list": receiver.entry,
        "heartbeat_key": receiver.key,
        "heartbeat_interval": 1,
    }
    stopped_agent.configure({"network": {"namespace": namespace}, "health_manager": health})
    stopped_agent.start()
    yield stopped_agent
    if not stopped_agent.is_running():
        stopped_agent.start()
    stopped_agent.call("DELETE", f"/1.0/listeners/{LISTENER}")


@pytest.fixture
def layout(agent):
    return LvsDirectory(agent.base_path).files(LISTENER)


@pytest.fixture
def running(agent, layout):
    """A listener without a pool, the bytes of its configuration."""
    assert agent.call("PUT", UPLOAD, EMPTY).status == 200
    assert agent.call("PUT", f"{ACTION}/start").status == 202
    return EMPTY


def test_a_listener_from_upload_to_delete(agent, layout, running, namespace, receiver):
    main = layout.processes.main()
    assert os.stat(f"/proc/{main.pid}/ns/net").st_ino == os.stat(f"/run/netns/{namespace}").st_ino
    assert agent.call("GET", STORED).body == running
    assert agent.call("GET", "/1.0/details").json["lvs_listener_process_count"] == 1
    assert agent.call("GET", "/1.0/listeners").json == [
        {"status": "OFFLINE", "uuid": LISTENER, "type": "UDP"}
    ]
    message = receiver.until(lambda message: LISTENER in message["listeners"])[-1]
    zeros = {"rx": 0, "tx": 0, "conns": 0, "totconns": 0, "ereq": 0}
    assert message["listeners"] == {LISTENER: {"status": "OPEN", "stats": zeros}}
    answer = agent.call("PUT", f"{ACTION}/reload")
    assert answer.json == {"message": "OK", "details": f"keepalivedlvs listener {LISTENER} restarted"}
    assert layout.processes.main() not in (None, main)
    answer = agent.call("PUT", f"{ACTION}/stop")
    assert answer.json == {"message": "OK", "details": f"keepalivedlvs listener {LISTENER} stoped"}
    assert layout.processes.main() is None
    assert agent.call("DELETE", f"/1.0/listeners/{LISTENER}").json == {"message": "OK"}
    left = sorted(path.name for path in layout.shared_directory.rglob("*"))
    assert left == ["check", "udp_check.sh"]


def test_a_pool_before_its_members_and_one_whose_members_are_switched_off(agent, layout, running, receiver):
    for members in ({}, {member(1): "MAINT"}):
        assert agent.call("PUT", UPLOAD, with_members(*(None for _ in members))).status == 200
        assert agent.call("PUT", f"{ACTION}/reload").status == 202
        assert layout.processes.checker() is not None
        pool = {"status": "UP", "members": members}
        receiver.until(lambda message, pool=pool: message["pools"] == {POOL: pool})
        assert agent.call("GET", "/1.0/listeners").json[0]["status"] == "ACTIVE"


def test_keepalived_refuses_at_the_upload_and_the_former_configuration_stays(agent, running):
    for number in range(2):
        answer = agent.call("PUT", UPLOAD, with_members(1).replace(b"weight", b"wait"))
        assert (answer.status, answer.json["message"]) == (400, "Invalid request"), number
        assert f"octavia-keepalivedlvs-{LISTENER}.conf: Line" in answer.json["details"]
        assert "Unknown keyword 'wait'" in answer.json["details"]
        assert agent.call("GET", STORED).body == running


def test_a_configuration_that_cannot_run_is_undone_and_says_so(agent, layout, running):
    assert not Path("/proc/net/ip_vs").exists(), "this kernel has IPVS, so the configuration would run"
    assert agent.call("PUT", UPLOAD, with_members(1)).status == 200
    answer = agent.call("PUT", f"{ACTION}/reload")
    assert answer.status == 500
    assert answer.json["message"] == f"Failed to restart keepalivedlvs listener {LISTENER}"
    assert "Can't initialize ipvs" in answer.json["details"]
    assert "started again with its last proven configuration" in answer.json["details"]
    assert layout.processes.main() is not None
    assert agent.call("GET", STORED).body == running
    # A controller that tries again finds everything as it was.
    assert agent.call("PUT", f"{ACTION}/reload").status == 202


def test_it_outlives_the_agent_and_comes_back_after_its_own_end(agent, layout, running, receiver):
    main = layout.processes.main()
    agent.kill()
    agent.start()
    assert layout.processes.main() == main
    agent.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(main.pid, 9)
    # Of a machine that was restarted: the number has come to mean somebody else.
    layout.pid_files.main.write_text(f"{os.getpid()}\n")
    agent.start()
    wait_until(lambda: layout.processes.main() not in (None, main), "keepalived comes back")


def test_the_probe_of_udp_members_can_be_executed_by_keepalived_only(agent, layout, running):
    assert layout.udp_check.stat().st_mode & 0o777 == 0o100
    assert layout.stored.stat().st_mode & 0o777 == 0o644
