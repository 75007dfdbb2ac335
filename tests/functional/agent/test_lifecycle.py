# SPDX-License-Identifier: Apache-2.0
"""The agent as a process: start, reload of its configuration, end, and what outlives it."""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from amphora.testing.agent import free_port
from amphora.testing.member import Member
from tests.support.listeners import MEMBER, POOL, configuration, listener_id
from tests.support.traffic import Load, request_once

ONE = listener_id(1)
COMMAND = str(Path(sys.executable).with_name("amphora-agent"))


def wait_until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return result


def master_pid(agent, listener=ONE):
    """The pid, or None while a haproxy that starts has not written it yet."""
    try:
        return int((agent.base_path / listener / f"{listener}.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return None


@pytest.fixture
def serving(agent, member):
    port = free_port()
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{port}"], member.port))
    assert agent.act(ONE, "start").status == 202
    return port


def test_the_answer_to_a_reload_carries_what_proved_it(agent, serving):
    evidence = agent.act(ONE, "reload").json["details"].splitlines()[-1]
    assert re.search(rf"worker \d+ of master {master_pid(agent)} serves after", evidence)
    assert "binds: 1 (answers: 1)" in evidence


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_haproxy_outlives_the_agent_and_is_taken_up_again(agent, serving, end):
    pid = master_pid(agent)
    with Load(serving) as load:
        getattr(agent, end)()
        load.wait_for(50)
        agent.start()
        load.wait_for(50)
    assert load.failures == []
    assert master_pid(agent) == pid
    assert agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "ACTIVE"
    assert agent.act(ONE, "reload").status == 202


def test_sigterm_ends_with_status_0(agent):
    assert agent.stop() == 0


def test_a_killed_haproxy_comes_back_by_itself(agent, serving):
    pid = master_pid(agent)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: master_pid(agent) not in (None, pid) and request_once(serving) is None)
    wait_until(lambda: agent.call("GET", f"/v0.1/listeners/{ONE}").json["status"] == "ACTIVE")


def test_a_crash_between_upload_and_reload_brings_the_proven_configuration_back(agent, serving, member):
    other = free_port()
    agent.upload(ONE, configuration(ONE, [f"127.0.0.1:{other}"], member.port))
    pid = master_pid(agent)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: master_pid(agent) not in (None, pid) and request_once(serving) is None)
    assert request_once(other) is not None


def test_after_a_reboot_everything_that_ran_runs_again(agent, serving):
    agent.kill()
    os.kill(master_pid(agent), signal.SIGKILL)
    wait_until(lambda: request_once(serving) is not None)
    agent.start()
    wait_until(lambda: request_once(serving) is None)


def test_members_are_told_up_and_down(agent, member):
    port, dead = free_port(), Member("dead")
    extra = "b55a3f3d-0a8b-4b06-8b1c-1a2b3c4d5e6f"
    body = configuration(ONE, [f"127.0.0.1:{port}"], member.port).decode()
    body = body.replace(
        f"127.0.0.1:{member.port}", f"127.0.0.1:{member.port} check inter 100ms fall 1 rise 1"
    )
    body += f"    server {extra} 127.0.0.1:{dead.port} check inter 100ms fall 1 rise 1\n"
    agent.upload(ONE, body.encode())
    agent.act(ONE, "start")

    def pool():
        return agent.call("GET", f"/v0.1/listeners/{ONE}").json["pools"][0]

    wait_until(lambda: pool() == {"uuid": POOL, "status": "UP", "members": [{MEMBER: "UP"}, {extra: "UP"}]})
    dead.close()
    wait_until(
        lambda: pool() == {"uuid": POOL, "status": "DEGRADED", "members": [{MEMBER: "UP"}, {extra: "DOWN"}]}
    )


def test_a_tls_listener_serves_the_uploaded_certificate(agent, member):
    port = free_port()
    leaf = agent.pki.server("www.example.com", file_name="tenant.pem")
    path = f"/v0.1/listeners/{ONE}/certificates/www.example.com.pem"
    stored = agent.directory / "certs" / ONE / "www.example.com.pem"
    plain = configuration(ONE, [f"127.0.0.1:{port}"], member.port)
    with_tls = configuration(ONE, [f"127.0.0.1:{port} ssl crt {stored}"], member.port)
    assert agent.call("PUT", path, leaf.path.read_bytes()).status == 404
    assert agent.upload(ONE, with_tls).status == 400, "the certificate is not there yet"
    assert agent.upload(ONE, plain).status == 201
    assert agent.call("PUT", path, leaf.path.read_bytes()).status == 201
    assert agent.upload(ONE, with_tls).status == 201
    assert agent.act(ONE, "start").status == 202
    served = ssl.get_server_certificate(("127.0.0.1", port))
    assert served.encode().strip() == leaf.certificate_pem.strip()
    assert agent.call("GET", "/v0.1/listeners").json[0]["type"] == "TERMINATED_HTTPS"
    assert "PRIVATE KEY" not in agent.log_path.read_text()


def test_delete_leaves_nothing(agent, serving):
    pid = master_pid(agent)
    named = agent.base_path / f"{ONE}.sock"
    body = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    agent.upload(ONE, f"global\n    stats socket {named}\n".encode() + body)
    assert agent.act(ONE, "reload").status == 202
    assert named.is_socket()
    assert agent.call("DELETE", f"/v0.1/listeners/{ONE}").status == 200
    assert not Path(f"/proc/{pid}").exists()
    left = sorted(str(path.relative_to(agent.base_path)) for path in agent.base_path.rglob("*"))
    assert set(left) <= {"services", "operations", "interfaces.lock"}


def test_sighup_takes_up_certificates_names_and_log_level(agent):
    def hang_up():
        size = agent.log_path.stat().st_size
        os.kill(agent.pid, signal.SIGHUP)
        wait_until(
            lambda: (
                "read again" in agent.log_path.read_text()[size:]
                or "refused" in agent.log_path.read_text()[size:]
            )
        )

    agent.configure({"amphora_agent": {"allowed_client_names": "somebody-else"}})
    hang_up()
    assert agent.call("GET", "/info").status == 401
    agent.configure({"amphora_agent": {"agent_server_cert": "/nowhere.pem"}})
    hang_up()
    assert agent.call("GET", "/info").status == 401, "a refused reload changes nothing"
    renewed = agent.pki.server("127.0.0.1", file_name="renewed.pem")
    agent.configure({"amphora_agent": {"agent_server_cert": renewed.path}})
    hang_up()
    context = agent.pki.client_context(agent.client)
    plain = socket.create_connection(("127.0.0.1", agent.port))
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as tls:
        der = tls.getpeercert(binary_form=True)
    assert ssl.DER_cert_to_PEM_cert(der).encode().strip() == renewed.certificate_pem.strip()


def run(*arguments):
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=30)


def test_version():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.strip()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"haproxy_amphora": {"bind_port": "many"}}, "[haproxy_amphora] bind_port"),
        ({"drivers": {"process_manager": "runit"}}, "process_manager driver 'runit' cannot be loaded"),
        ({"drivers": {"package_manager": "pacman"}}, "available: dpkg, rpm"),
        ({"haproxy_amphora": {"base_cert_dir": "/var/lib/amphora-test-certs"}}, "lies on"),
        ({"haproxy_amphora": {"base_path": "/tmp/" + "x" * 90}}, "base_path"),
        ({"amphora_agent": {"agent_server_cert": "/nowhere.pem"}}, "/nowhere.pem"),
        ({"amphora_agent": {"agent_server_ca": "/nowhere.pem"}}, "/nowhere.pem"),
    ],
)
def test_what_cannot_be_started_is_one_sentence_and_status_2(memory_dir, options, words):
    from amphora.testing.agent import AgentProcess

    agent = AgentProcess(memory_dir, options)
    result = run("--config-file", str(agent.config_path))
    assert result.returncode == 2
    assert words in result.stderr
    sentence = [line for line in result.stderr.splitlines() if line.startswith("amphora-agent:")]
    assert len(sentence) == 1
    assert "Traceback" not in result.stderr


def test_a_port_that_is_taken_is_one_sentence_and_status_2(agent, memory_dir):
    result = run("--config-file", str(agent.config_path))
    assert result.returncode == 2
    assert str(agent.port) in result.stderr
    assert "Traceback" not in result.stderr


def test_unknown_options_are_a_warning(stopped_agent):
    stopped_agent.configure({"amphora_agent": {"amphora_udp_driver": "keepalived_lvs"}})
    stopped_agent.start()
    assert "amphora_udp_driver is not known" in stopped_agent.log_path.read_text()


def test_every_request_is_logged_with_its_id(agent):
    request_id = agent.call("GET", "/info").headers["X-Request-ID"]
    wait_until(lambda: request_id in agent.log_path.read_text())


def test_bodies_over_the_limit_are_a_json_400_and_change_nothing(agent, serving):
    body = agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body
    answer = agent.upload(ONE, b"#" * (1024 * 1024 + 1))
    assert answer.status == 400
    assert "1048576" in answer.json["details"]
    assert agent.call("GET", f"/v0.1/listeners/{ONE}/haproxy").body == body


def test_it_works_as_an_ordinary_user(memory_dir, member):
    """The whole way in a process with another user id than root's and without any capability."""
    script = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from pathlib import Path
from amphora.testing.agent import AgentProcess, free_port
from tests.support.listeners import configuration
from tests.support.traffic import request_once
agent = AgentProcess(Path({str(memory_dir)!r}))
agent.start()
port = free_port()
import os
print(os.geteuid())
print(agent.upload({ONE!r}, configuration({ONE!r}, [f"127.0.0.1:{{port}}"], {member.port})).status)
print(agent.act({ONE!r}, "start").status, request_once(port), agent.act({ONE!r}, "reload").status)
agent.clean_up()
"""
    result = subprocess.run(
        ["unshare", "--user", "--map-user=12345", "--map-group=12345", sys.executable, "-c", script],
        capture_output=True, text=True, timeout=60, env=os.environ | {"HOME": str(memory_dir)},
    )  # fmt: skip
    assert result.stdout.splitlines() == ["12345", "201", "202 None 202"], result.stderr
