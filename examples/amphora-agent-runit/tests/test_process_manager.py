# SPDX-License-Identifier: Apache-2.0
"""What only the runit driver can be asked, as its author promises it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from amphora.errors import DriverUnavailable, ServiceError
from amphora.models import ServiceSpec
from amphora.system.command import CommandRunner
from amphora.system.processes import parent_of
from amphora.testing.service_bench import ServiceBench, is_alive

from amphora_runit.process_manager import RunitProcessManager


@pytest.fixture
def bench(service_directory):
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    bench = ServiceBench(
        lambda path: RunitProcessManager(path / "state", CommandRunner(), service_directory), directory
    )
    yield bench
    bench.close()
    shutil.rmtree(directory)


def test_machine_without_a_runsvdir_is_unavailable(tmp_path):
    manager = RunitProcessManager(tmp_path, CommandRunner(), tmp_path)
    with pytest.raises(DriverUnavailable, match=f"no runsvdir watches {tmp_path}"):
        manager.check_available()


def test_service_of_somebody_else_is_left_alone(tmp_path):
    theirs = tmp_path / "links" / "sshd"
    theirs.mkdir(parents=True)
    manager = RunitProcessManager(tmp_path / "state", CommandRunner(), theirs.parent)
    with pytest.raises(ServiceError, match="was not made by amphora-agent"):
        manager.install(ServiceSpec("sshd", "A service", ("/bin/true",)))
    manager.remove("sshd")
    assert theirs.is_dir()
    assert not (tmp_path / "state" / "sshd").exists()


def test_service_outlives_its_killed_runsv(bench):
    name = bench.started(bench.notifying())
    former = bench.running_pid(name)
    os.kill(parent_of(former), signal.SIGKILL)
    # runsvdir starts another runsv, which ends what the former left before it starts the service.
    assert bench.wait_for_new_pid(name, former)
    assert not is_alive(former)


def test_programs_of_a_former_installation_are_replaced(bench):
    name = bench.install(bench.spec())
    program = bench.directory / "state" / name / "run"
    wanted = program.read_text()
    program.write_text("#!/bin/sh\nexec /former/venv/bin/python -m amphora_runit.run\n")
    bench.restart_agent()
    assert program.read_text() == wanted
    bench.manager.start(name)
    assert bench.running_pid(name)


def test_new_agent_takes_up_the_rest_and_reports_what_is_damaged(bench):
    name, damaged = bench.started(bench.notifying()), bench.install(bench.spec())
    state = bench.directory / "state"
    (state / "half-removed").mkdir()
    (state / damaged / "service.json").write_text("{")
    (state / name / "finish").write_text("#!/bin/sh\n")
    with pytest.raises(ServiceError, match=f"{damaged}/service.json is damaged"):
        bench.restart_agent()
    assert not (state / "half-removed").exists()
    assert "amphora_runit.finish" in (state / name / "finish").read_text()
    (state / damaged / "service.json").unlink()
    bench.restart_agent()
    assert not (state / damaged).exists()


def test_operator_sees_the_service_by_its_name(bench, service_directory):
    name = bench.started(bench.notifying())
    seen = CommandRunner().run(("sv", "status", str(service_directory / name)), timeout=10)
    assert f"(pid {bench.running_pid(name)})" in seen.output
