# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.haproxy.capabilities import read_capabilities
from amphora.haproxy.program import HaproxyProgram
from amphora.system.command import CommandResult

VERSION_2_6 = """\
HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/
Status: long-term supported branch
Feature list : -51DEGREES +EPOLL -QUIC +SYSTEMD
Available filters :
\t[CACHE] +NOT_A_FEATURE
"""


class RecordedRunner:
    """Stands for a machine on which every check ends as told; keeps what it was asked."""

    def __init__(self, status=0, output="", version=VERSION_2_6):
        self.status, self.output, self.version = status, output, version
        self.calls = []

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.calls.append((tuple(argv), timeout, namespace))
        if "-vv" in argv:
            return CommandResult(tuple(argv), 0, self.version)
        return CommandResult(tuple(argv), self.status, self.output)


@pytest.fixture
def command(short_dir):
    path = short_dir / "haproxy"
    path.write_text("#!/bin/true\n")
    path.chmod(0o755)
    return path


def test_the_version_is_asked_once_for_each_file(command):
    runner = RecordedRunner()
    program = HaproxyProgram(command, runner)
    assert program.version() is None
    assert program.refresh() is program.refresh() is program.version()
    assert runner.calls == [((str(command), "-vv"), 10.0, "")]
    os.utime(command, (1, 1))
    runner.version = "HAProxy version 3.0.1 x\n"
    assert program.version() == read_capabilities(VERSION_2_6)
    assert program.refresh().text == program.version().text == "3.0.1"


def test_an_executable_that_prints_no_version_is_an_error(command):
    program = HaproxyProgram(command, RecordedRunner(version="not found"))
    with pytest.raises(OperationFailed, match="-vv ended with status 0: no version in 'not found'"):
        program.refresh()
    assert program.version() is None


def test_a_missing_or_locked_executable_is_an_error(command):
    with pytest.raises(OperationFailed, match="No such file"):
        HaproxyProgram(command.with_name("gone"), RecordedRunner()).check([command])
    command.chmod(0o644)
    with pytest.raises(OperationFailed, match="not executable"):
        HaproxyProgram(command, RecordedRunner()).refresh()


def test_a_valid_configuration_returns_haproxy_s_words(command):
    runner = RecordedRunner(0, "[WARNING] (1) : parsing [/base/x.new:3]\nConfiguration file is valid\n")
    files = [Path("/base/x.new"), Path("/base/x.new.more")]
    words = HaproxyProgram(command, runner).check(files, timeout=7, names={"/base/x.new": "haproxy.cfg"})
    assert words == "[WARNING] (1) : parsing [haproxy.cfg:3]\nConfiguration file is valid"
    assert runner.calls[-1] == ((str(command), "-c", "-f", "/base/x.new", "-f", "/base/x.new.more"), 7, "")


@pytest.mark.parametrize(("version", "mode"), [("2.8.12", ["-c"]), ("2.9.0", ["-c", "-V"])])
def test_versions_that_say_nothing_of_a_valid_configuration_are_asked_to(command, version, mode):
    program = HaproxyProgram(command, RecordedRunner(version=f"HAProxy version {version}\n"))
    assert program.check_argv([Path("/a")]) == (str(command), *mode, "-f", "/a")


@pytest.mark.parametrize(
    ("status", "output"), [(1, "[ALERT] (1) : bad [/s]"), (2, "will not start (no listener) /s")]
)
def test_a_refused_configuration_is_the_caller_s_fault(command, status, output):
    names = {"/s": "haproxy.cfg", "/s/longer": "agent.cfg"}
    with pytest.raises(InvalidConfiguration) as refusal:
        HaproxyProgram(command, RecordedRunner(status, output)).check([Path("/s")], names=names)
    assert refusal.value.details == output.replace("/s", "haproxy.cfg")


@pytest.mark.parametrize(
    ("status", "output"), [(-9, ""), (255, "Cannot open"), (1, "setting the namespace failed")]
)
def test_a_check_that_could_not_be_done_is_not(command, status, output):
    with pytest.raises(OperationFailed, match="-c ended with status"):
        HaproxyProgram(command, RecordedRunner(status, output)).check([])


def test_a_missing_namespace_is_not_the_configuration_s_fault(command):
    with pytest.raises(OperationFailed, match="amp-no-such-namespace does not exist"):
        HaproxyProgram(command, RecordedRunner()).check([], namespace="amp-no-such-namespace")


@pytest.mark.parametrize(
    ("output", "mode"), [(VERSION_2_6, ("-Ws",)), ("HAProxy version 2.4.1\n", ("-W", "-db"))]
)
def test_services_run_as_master_and_worker_in_the_foreground(command, output, mode):
    program = HaproxyProgram(command, RecordedRunner(version=output))
    argv = program.service_argv([Path("/a"), Path("/b")], Path("/p"), Path("/m"), local_peer="me")
    expected = (str(command), *mode, "-f", "/a", "-f", "/b", "-L", "me", "-p", "/p", "-S", "/m,mode,600")
    assert argv == expected
    assert program.notifies() == (mode == ("-Ws",))
