# SPDX-License-Identifier: Apache-2.0
"""The same life of a listener on every init system: one suite, real machines."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.e2e.inits import NoInit, Systemd, Sysvinit, Upstart
from tests.e2e.installation import MEMBER_PORT, Installation, wait_until
from tests.support.listeners import hidden_frontend, listener_id
from tests.support.nspawn import booted_machine

pytestmark = [
    pytest.mark.real_commands,
    pytest.mark.skipif("os.geteuid() != 0", reason="booting a machine needs root"),
]

INITS = (Systemd, Sysvinit, Upstart, NoInit)


@pytest.fixture(scope="module", params=INITS, ids=lambda init: init.process_manager)
def installation(request):
    init = request.param()
    scratch = Path(tempfile.mkdtemp(prefix="e2e-", dir="/tmp"))
    try:
        with booted_machine(
            f"e2e-{init.process_manager}", init=init.machine, extra_binds=[scratch]
        ) as machine:
            installed = Installation(machine, init, scratch)
            installed.install()
            yield installed
            installed.stop_member()
    finally:
        shutil.rmtree(scratch)


@pytest.fixture(scope="module")
def numbers():
    return iter(range(1, 100))


@pytest.fixture
def listener(installation, numbers):
    """A started listener's id and port."""
    number = next(numbers)
    started = listener_id(number), 8100 + number
    installation.listener(*started)
    return started


def test_auto_chooses_the_machines_own_init(installation):
    table = installation.run("amphora-agent", "drivers", "--config-file", "/etc/octavia/amphora-agent.conf")
    rows = [line for line in table.splitlines() if line.startswith("process_manager")]
    selected = [row.split()[1] for row in rows if "by auto" in row]
    assert selected == [installation.init.process_manager]


def test_twenty_reloads_under_load_lose_no_request(installation, listener):
    name, port = listener
    pid = installation.haproxy_pid(name)
    with installation.load(port) as load:
        for _ in range(20):
            answer = installation.client.act(name, "reload")
            assert answer.status == 202, answer.body
        load.wait_for(50)
    assert load.failures == []
    assert installation.haproxy_pid(name) == pid


def test_a_refused_reload_is_told_in_haproxys_words(installation, listener):
    name, port = listener
    body = installation.client.call("GET", f"/v0.1/listeners/{name}/haproxy").body
    answer = installation.client.upload(name, body + hidden_frontend(MEMBER_PORT))
    assert answer.status == 201, answer.body
    answer = installation.client.act(name, "reload")
    assert answer.status == 500
    assert "[ALERT]" in answer.json["details"]
    assert f"[127.0.0.1:{MEMBER_PORT}]" in answer.json["details"]
    assert "haproxy goes on with its last proven configuration" in answer.json["details"]
    assert installation.serves(port)


def test_a_killed_haproxy_comes_back_by_itself(installation, listener):
    name, port = listener
    pid = installation.haproxy_pid(name)
    installation.run("kill", "-KILL", str(pid))
    wait_until(lambda: installation.haproxy_pid(name) not in (None, pid) and installation.serves(port))
    wait_until(lambda: installation.status(name) == "ACTIVE")


def test_the_agent_restarts_without_touching_haproxy(installation, listener):
    name, port = listener
    pid = installation.haproxy_pid(name)
    with installation.load(port) as load:
        installation.restart_agent()
        load.wait_for(50)
    assert load.failures == []
    assert installation.haproxy_pid(name) == pid
    assert installation.status(name) == "ACTIVE"
    assert installation.client.act(name, "reload").status == 202


def test_a_stopped_listener_stays_stopped_over_a_reboot(installation, listener):
    name, port = listener
    assert installation.client.act(name, "stop").status == 202
    installation.machine.reboot()
    installation.wait_until_serving()
    assert installation.status(name) == "STOPPED"
    assert not installation.serves(port)


@pytest.mark.parametrize("end", ["reboot", "power_cut"])
def test_traffic_returns_without_a_controller(installation, listener, end, report):
    name, port = listener
    seconds = installation.boot_to_traffic(port, getattr(installation.machine, end))
    report(f"{installation.init.process_manager}: {end} to first served request {seconds:.2f} s")
    installation.wait_until_serving()
    wait_until(lambda: installation.status(name) == "ACTIVE")


def test_a_deleted_listener_leaves_nothing(installation, listener):
    name, _ = listener
    assert installation.client.call("DELETE", f"/v0.1/listeners/{name}").status == 200
    left = installation.run(
        "sh", "-c", f"find /etc /var/lib /run /usr/lib -name '*{name}*' 2>/dev/null; true"
    )
    assert left == ""
