# SPDX-License-Identifier: Apache-2.0
"""The command that runs keepalived for LVS, and what its check is told."""

from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration
from amphora.keepalived.program import KeepalivedProgram, LvsProgram, PidFiles
from amphora.system.command import CommandResult, CommandRunner

PID_FILES = PidFiles(Path("/l/a.pid"), Path("/l/a.vrrp.pid"), Path("/l/a.check.pid"))
SECURITY = "SECURITY VIOLATION - check scripts are being executed but script_security not enabled."


class ScriptedRunner(CommandRunner):
    """Answers every command alike and remembers the last."""

    def __init__(self, status=0, output=""):
        self.status, self.output, self.asked = status, output, ()

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.asked = tuple(argv)
        return CommandResult(tuple(argv), self.status, self.output)


def program(runner, namespace=""):
    # The check wants to know that namespace and executable are there.
    return LvsProgram(KeepalivedProgram(Path("/bin/sh"), runner), namespace, log_facility=3)


def test_the_service_stays_in_the_foreground_in_our_namespace():
    argv = program(ScriptedRunner(), "amphora-haproxy").service_argv(Path("/l/x/running.conf"), PID_FILES)
    assert argv[0] == "/bin/sh"
    assert {"-n", "-C", "--log-facility=3"} <= set(argv)
    assert argv[argv.index("-s") + 1] == "amphora-haproxy"
    assert argv[-8:] == (
        "-f", "/l/x/running.conf", "-p", "/l/a.pid", "-r", "/l/a.vrrp.pid", "-c", "/l/a.check.pid",
    )  # fmt: skip


def test_without_a_namespace_of_ours_the_configurations_counts():
    assert "-s" not in program(ScriptedRunner()).service_argv(Path("/l/x/running.conf"), PID_FILES)


def test_scripts_without_script_security_are_no_reason_to_refuse(short_dir):
    file = short_dir / "staged.conf"
    file.write_text("net_namespace x\n")
    assert program(ScriptedRunner(6, SECURITY)).check(file, {}) == SECURITY
    with pytest.raises(InvalidConfiguration, match="Unknown keyword 'wait'"):
        program(ScriptedRunner(6, f"{SECURITY}\n(Line 3) Unknown keyword 'wait'")).check(file, {})
