# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to a listener behind the agent's back is told by its name, and healed where asked."""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from amphora.system.processes import children_of
from amphora.system.served_certificate import served_certificate, unverified_context
from amphora.testing.agent import AgentProcess, free_port
from tests.support import listeners
from tests.support.drifting import OFTEN, DriftWatch, healing, reasons
from tests.support.traffic import request_once

ONE = listeners.listener_id(1)
SCRIPT = Path(__file__).parents[2] / "support" / "forks_counted.py"
CERTIFICATES = f"/v0.1/listeners/{ONE}/certificates"


@pytest.fixture
def agent(stopped_agent, request):
    stopped_agent.configure(getattr(request, "param", OFTEN))
    stopped_agent.start()
    return stopped_agent


@pytest.fixture
def watch(agent):
    return DriftWatch(agent)


@pytest.fixture
def port(agent, member):
    port = free_port()
    assert agent.upload(ONE, listeners.configuration(ONE, [f"127.0.0.1:{port}"], member.port)).status == 201
    assert agent.act(ONE, "start").status == 202
    return port


def in_directory(agent, name):
    return agent.base_path / ONE / name


def edit_in_place(path):
    with path.open("ab") as file:
        file.write(b"# edited by hand\n")


def replace_as_editors_do(path):
    other = path.with_name("other")
    other.write_bytes(path.read_bytes() + b"# edited by hand\n")
    other.replace(path)


@pytest.mark.parametrize("agent", [healing("configs")], indirect=True)
@pytest.mark.parametrize("edit", [edit_in_place, replace_as_editors_do])
def test_stored_configuration_that_was_edited_is_told_and_put_back(agent, watch, port, edit):
    watch.clean()
    path = in_directory(agent, "haproxy.cfg")
    before = path.read_bytes()
    edit(path)
    assert watch.told("stored-edited")["object"] == ONE
    watch.healed("configs")
    assert path.read_bytes() == before
    assert request_once(port) is None


@pytest.mark.parametrize("agent", [healing("configs")], indirect=True)
@pytest.mark.parametrize("name", ["running.cfg", "agent.cfg"])
def test_what_it_is_started_from_and_was_edited_is_told_and_put_back(agent, watch, port, name):
    watch.clean()
    path = in_directory(agent, name)
    before = path.read_bytes()
    replace_as_editors_do(path)
    watch.told({"running.cfg": "running-edited", "agent.cfg": "overlay-edited"}[name])
    watch.healed("configs")
    assert path.read_bytes() == before
    assert request_once(port) is None


def test_instance_whose_directory_was_removed_is_told_until_it_is_back(agent, watch, port):
    watch.clean()
    directory, elsewhere = agent.base_path / ONE, agent.directory / "elsewhere"
    directory.rename(elsewhere)
    assert watch.told("stored-missing")["object"] == ONE
    elsewhere.rename(directory)
    watch.clean()


def test_worker_that_is_older_than_its_configuration_is_told(agent, watch, port):
    watch.clean()
    later = time.time() + 30
    os.utime(in_directory(agent, "running.cfg"), (later, later))
    assert watch.told("worker-outdated")["area"] == "configs"


def test_worker_that_runs_something_else_is_told(agent, watch, port):
    watch.clean()
    path = in_directory(agent, "running.cfg")
    path.write_bytes(path.read_bytes().replace(b"frontend ", b"frontend other-"))
    os.kill(int(in_directory(agent, f"{ONE}.pid").read_text()), signal.SIGUSR2)
    wanted = {"running-edited", "frontend-closed", "frontend-unknown"}
    # The file names the other frontend too, until it is put back.
    watch.told("running-edited")
    path.write_bytes(path.read_bytes().replace(b"frontend other-", b"frontend "))
    answer = watch.until(lambda answer: len(reasons(answer) & wanted) >= 2, "both frontends are told")
    objects = {each["reason"]: each["object"] for each in answer["drift"]}
    assert objects["frontend-closed"] == f"{ONE}/{ONE}"
    assert objects["frontend-unknown"] == f"{ONE}/other-{ONE}"


def test_upload_that_waits_for_its_reload_is_pending_and_no_drift(agent, watch, port, member):
    watch.clean()
    body = listeners.configuration(ONE, [f"127.0.0.1:{port}"], member.port, comment="another")
    assert agent.upload(ONE, body).status == 201
    assert watch.told("pending-reload", "pending")["object"] == ONE
    assert watch.next()["drift"] == []
    assert agent.act(ONE, "reload").status == 202
    assert watch.until(lambda answer: not answer["pending"], "nothing is pending")["drift"] == []


def test_haproxy_that_hangs_is_told(agent, watch, port):
    watch.clean()
    workers = children_of(int(in_directory(agent, f"{ONE}.pid").read_text()))
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert watch.told("worker-silent")["object"] == ONE
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
    watch.clean()


@pytest.fixture
def tls_port(agent, member):
    port = free_port()
    body = listeners.configuration(ONE, [f"127.0.0.1:{port} ssl crt {directory_of(agent)}"], member.port)
    agent.upload(ONE, listeners.configuration(ONE, [f"127.0.0.1:{port}"], member.port))
    put(agent, "www.example.com")
    assert agent.upload(ONE, body).status == 201
    assert agent.act(ONE, "start").status == 202
    return port


def directory_of(agent):
    return agent.directory / "certs" / ONE


def put(agent, name):
    pem = new_pem(agent, name)
    answer = agent.call("PUT", f"{CERTIFICATES}/{name}.pem", pem, Content_Type="application/x-pem-file")
    assert answer.status == 201, answer.json


def new_pem(agent, name):
    return agent.pki.server(name, file_name="tenant.pem").path.read_bytes()


def test_certificate_uploaded_after_the_reload_is_pending_and_no_drift(agent, watch, tls_port):
    watch.clean()
    put(agent, "www.example.com")
    told = watch.told("pending-reload", "pending")
    assert (told["area"], told["object"]) == ("certificates", f"{ONE}/www.example.com.pem")
    assert watch.next()["drift"] == []
    assert agent.act(ONE, "reload").status == 202
    assert watch.until(lambda answer: not answer["pending"], "nothing is pending")["drift"] == []


@pytest.mark.parametrize("agent", [healing("certificates")], indirect=True)
def test_certificate_replaced_by_hand_is_told_and_served_after_healing(agent, watch, tls_port):
    watch.clean()
    shown = partial(served_certificate, "127.0.0.1", tls_port, 5.0, unverified_context())
    before = shown()
    (directory_of(agent) / "www.example.com.pem").write_bytes(new_pem(agent, "www.example.com"))
    assert watch.told("certificate-replaced")["object"] == f"{ONE}/www.example.com.pem"
    watch.healed("certificates")
    assert shown() != before


def test_certificate_removed_by_hand_is_told_and_stays_so_through_other_changes(agent, watch, tls_port):
    put(agent, "other.example.com")
    agent.act(ONE, "reload")
    watch.clean()
    (directory_of(agent) / "www.example.com.pem").unlink()
    # Haproxy reads what is in the directory, so nobody but the agent can know what is missing.
    put(agent, "third.example.com")
    assert watch.told("certificate-missing")["object"] == f"{ONE}/www.example.com.pem"


def beside(credential):
    return {"www.pem": credential.certificate_pem, "www.pem.key": credential.key_pem}


def in_bundle(credential):
    return {"www.pem.ecdsa": credential.path.read_bytes()}


def in_list(credential):
    return {"www.pem": credential.path.read_bytes(), "list": b"www.pem [alpn h2]\n"}


@pytest.mark.parametrize(
    ("files_of", "parameters", "name"),
    [
        (beside, "crt {directory}/www.pem", "www.pem"),
        (in_bundle, "crt {directory}/www.pem", "www.pem.ecdsa"),
        (in_list, "crt-list {directory}/list", "www.pem"),
    ],
)
def test_certificate_that_is_not_served_is_told_wherever_it_is(
    agent, watch, member, files_of, parameters, name
):
    directory, port = agent.directory / "tenant", free_port()
    directory.mkdir()

    def store():
        for file, content in files_of(agent.pki.server("www.example.com", file_name="tenant.pem")).items():
            (directory / file).write_bytes(content)

    store()
    bind = f"127.0.0.1:{port} ssl {parameters.format(directory=directory)}"
    body = f"global\n    crt-base {directory}\n".encode() + listeners.configuration(ONE, [bind], member.port)
    assert agent.upload(ONE, body).status == 201
    assert agent.act(ONE, "start").status == 202
    assert watch.clean()["pending"] == []
    store()
    told = watch.told("pending-reload", "pending")
    assert (told["area"], told["object"]) == ("certificates", f"tenant/{name}")
    assert agent.act(ONE, "reload").status == 202
    assert watch.until(lambda answer: not answer["pending"], "nothing is pending")["drift"] == []


@pytest.mark.parametrize("rounds", [15])
def test_bursts_of_reloads_are_never_taken_for_drift(agent, watch, tls_port, member, rounds):
    watch.clean()
    told = set()
    for number in range(rounds):
        body = listeners.configuration(
            ONE, [f"127.0.0.1:{tls_port} ssl crt {directory_of(agent)}"], member.port, str(number)
        )
        put(agent, "www.example.com")
        assert agent.upload(ONE, body).status == 201
        assert agent.act(ONE, "reload").status == 202
        told |= reasons(watch.now())
    assert told == set()
    assert watch.next()["drift"] == []
    assert "drift:" not in agent.log_path.read_text()


def test_looking_for_drift_starts_no_process(memory_dir, member, monkeypatch):
    forks = memory_dir / "forks"
    forks.touch()
    monkeypatch.setenv("AMPHORA_TEST_FORKS", str(forks))
    agent = AgentProcess(memory_dir, OFTEN, command=[sys.executable, str(SCRIPT)])
    agent.start()
    try:
        agent.upload(ONE, listeners.configuration(ONE, [f"127.0.0.1:{free_port()}"], member.port))
        agent.act(ONE, "start")
        after_changes = forks.stat().st_size
        assert after_changes > 0, "the counter counts nothing"
        for _ in range(2):
            assert DriftWatch(agent).next()["drift"] == []
        assert forks.stat().st_size == after_changes
    finally:
        agent.clean_up()
