# SPDX-License-Identifier: Apache-2.0
"""An out-of-tree distribution of drivers: installed by pip, selected by configuration, proven by the kit."""

import json
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from amphora.system.processes import read_pid_file
from amphora.testing.agent import AgentDied, AgentProcess, free_port
from amphora.testing.member import Member
from amphora.testing.suites import ProcessManagerSuite
from tests.functional.examples.conftest import EXAMPLE
from tests.support.listeners import configuration, listener_id
from tests.support.traffic import request_once
from tests.support.vrrp_pair import eventually

pytestmark = pytest.mark.skipif("os.geteuid() != 0", reason="the kit makes network namespaces")

ONE = listener_id(1)
DRIVERS = {"process_manager": "runit", "network": "recording"}

#: Most of the suite's time is runit's own pace: runsv and runsvdir sleep for a second now and then.
SHARES = 8
SUITE = sorted(name for name in dir(ProcessManagerSuite) if name.startswith("test_"))


class Background:
    """Commands of the environment, all under way at once."""

    def __init__(self, python, environment, pool):
        self._python, self._environment, self._pool = python, environment, pool

    def run(self, *arguments):
        return self._pool.submit(
            lambda: subprocess.run(
                [self._python, *arguments],
                env=self._environment,
                cwd="/",
                capture_output=True,
                text=True,
                timeout=300,
            )
        )

    def conformance(self, family, name, *options):
        return self.run("-m", "amphora.testing.conformance", family, name, "--json", *options)


@dataclass(frozen=True)
class UnderWay:
    shares: list
    recording: object
    kernel: object
    own: object


@pytest.fixture(scope="module")
def under_way(installed_python, environment):
    """Begin all that takes long; most of it is waiting."""
    with ThreadPoolExecutor(SHARES + 3) as pool:
        begin = Background(installed_python, environment, pool)
        shares = [[f"--test={name}" for name in SUITE[share::SHARES]] for share in range(SHARES)]
        own = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--ignore", EXAMPLE / "tests/test_contract.py")
        yield UnderWay(
            [begin.conformance("process_manager", "runit", *share) for share in shares],
            begin.conformance("network", "recording", "--part=contract"),
            begin.conformance("network", "recording", "--test=test_mtu_is_set_and_left_when_not_given"),
            begin.run(*own, EXAMPLE),
        )


@pytest.mark.slow
def test_the_kit_finds_the_process_manager_conforming(under_way):
    found = [share.result() for share in under_way.shares]
    assert [done.returncode for done in found] == [0] * SHARES, [done.stdout + done.stderr for done in found]
    reports = [json.loads(done.stdout) for done in found]
    assert [report["skipped"] for report in reports] == [[]] * SHARES
    assert {report["distribution"] for report in reports} == {"amphora-agent-runit"}
    passed = {name.partition("[")[0] for report in reports for name in report["passed"]}
    assert sorted(passed) == SUITE


def test_the_kit_sees_what_a_recording_network_is(under_way):
    kept = under_way.recording.result()
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert json.loads(kept.stdout)["skipped"] == []
    # It says that it has set an MTU; the kernel says that nobody has.
    not_kept = under_way.kernel.result()
    report = json.loads(not_kept.stdout)
    assert (not_kept.returncode, len(report["failed"]), report["passed"]) == (1, 3, [])


def test_its_own_tests_pass(under_way):
    done = under_way.own.result()
    assert done.returncode == 0, done.stdout
    assert "skipped" not in done.stdout


def agent_command(python):
    """Return what the console script of that environment would be."""
    return [str(python), "-c", "import sys; from amphora.cmd.agent import main; sys.exit(main())"]


@pytest.fixture
def agent(installed_python, short_dir, memory_dir, environment, monkeypatch):
    monkeypatch.setenv("SVDIR", environment["SVDIR"])
    options = {"drivers": DRIVERS, "haproxy_amphora": {"base_cert_dir": memory_dir / "certs"}}
    agent = AgentProcess(short_dir, options, agent_command(installed_python))
    agent.start()
    yield agent
    agent.clean_up()


@pytest.fixture
def member():
    member = Member()
    yield member
    member.close()


@pytest.fixture
def served_port(agent, member):
    """Upload and start a listener; return the port on which it serves."""
    port = free_port()
    assert agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}"], member.port)).status == 201
    assert agent.act(ONE, "start").status == 202
    eventually(lambda: request_once(port) is None, "the listener serves", 10)
    return port


def haproxy(service_directory):
    """Return the process id that runsv has for the listener, the master's; None between two runs."""
    (service,) = service_directory.glob(f"*{ONE}*")
    return read_pid_file(service / "supervise" / "pid")


def test_configuration_selects_both_drivers(agent):
    log = agent.log_path.read_text()
    for family, name in DRIVERS.items():
        assert f"{family} driver: {name} (amphora-agent-runit 1.0.0), selected by configuration" in log


def test_a_listener_lives_under_runit(agent, served_port, member, service_directory):
    pid = haproxy(service_directory)
    body = configuration(ONE, [f"127.0.0.1:{served_port}"], member.port, comment="changed")
    assert agent.upload(ONE, body).status == 201
    assert agent.act(ONE, "reload").status == 202
    assert (haproxy(service_directory), request_once(served_port)) == (pid, None)
    assert agent.act(ONE, "stop").status == 202
    assert request_once(served_port) is not None
    assert agent.act(ONE, "start").status == 202
    eventually(lambda: request_once(served_port) is None, "it serves again", 10)
    assert agent.call("DELETE", f"/v0.1/listeners/{ONE}").status == 200
    assert list(service_directory.glob(f"*{ONE}*")) == []
    assert request_once(served_port) is not None


def test_a_listener_outlives_the_agent_and_its_own_death(agent, served_port, service_directory):
    pid = haproxy(service_directory)
    agent.kill()
    assert request_once(served_port) is None
    agent.start()
    assert haproxy(service_directory) == pid
    os.kill(pid, signal.SIGKILL)
    # What the dead one left serves until it is cleared away, so an answer alone proves nothing.
    eventually(lambda: haproxy(service_directory) not in (None, pid), "runsv has started it again", 15)
    eventually(lambda: request_once(served_port) is None, "it serves", 15)


def test_a_plugged_port_is_recorded_and_left_alone(agent):
    name, mac = f"ampx{os.getpid() % 100000}", "02:a6:ee:00:00:01"
    ip("link", "add", name, "address", mac, "type", "veth", "peer", "name", f"{name}p")
    try:
        before = ip("-o", "link", "show", name)
        body = {"mac_address": mac, "subnet_cidr": "198.51.100.0/24", "gateway": "198.51.100.1"}
        answer = agent.post("/v0.1/plug/vip/198.51.100.100", body)
        assert answer.status == 202, answer.json
        assert ip("-o", "link", "show", name) == before
    finally:
        ip("link", "del", name)
    lines = (agent.base_path / "network" / "record.jsonl").read_text().splitlines()
    actions = {json.loads(line)["action"] for line in lines}
    assert {"persist", "activate"} <= actions


def test_a_machine_without_runsvdir_is_told_in_one_sentence(
    installed_python, short_dir, memory_dir, monkeypatch
):
    nowhere = short_dir / "nowhere"
    monkeypatch.setenv("SVDIR", str(nowhere))
    options = {"drivers": DRIVERS, "haproxy_amphora": {"base_cert_dir": memory_dir / "certs"}}
    agent = AgentProcess(short_dir, options, agent_command(installed_python))
    with pytest.raises(AgentDied, match=f"'runit' cannot work .*: no runsvdir watches {nowhere}"):
        agent.start()


def ip(*arguments):
    return subprocess.run(["ip", *arguments], check=True, timeout=10, capture_output=True, text=True).stdout
