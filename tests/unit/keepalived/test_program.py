# SPDX-License-Identifier: Apache-2.0
"""How keepalived's exit statuses and remarks are read; the words are those of 2.2.7."""

from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.keepalived.program import KeepalivedProgram
from amphora.system.command import CommandResult, CommandRunner

SECURITY = "SECURITY VIOLATION - scripts are being executed but script_security not enabled."
NOPREEMPT = "(v1) Warning - nopreempt will not work with initial state MASTER - clearing"
AUTHENTICATION = "(v1) VRRP version 3 does not support authentication. Ignoring."
TRUNCATED = "(vrrp.conf: Line 18) Truncating auth_pass to 8 characters"
NO_MEMBERS = "Virtual server [ipv4-group]:0 has no real servers - ignoring"
CHECKS = "SECURITY VIOLATION - check scripts are being executed but script_security not enabled."
FIFO = "(/x/vrrp.conf: Line 2) vrrp_notify_fifo already specified - ignoring /tmp/theirs"


class ScriptedRunner(CommandRunner):
    """Answers every command alike and remembers the last."""

    def __init__(self, status, output):
        self.status, self.output, self.asked = status, output, ()

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.asked = (tuple(argv), namespace)
        return CommandResult(tuple(argv), self.status, self.output)


@pytest.fixture
def file(short_dir):
    path = short_dir / "vrrp.conf.new"
    path.write_text("vrrp_instance v1 {\n}\n")
    return path


def program(status=0, output="", command=Path("/bin/sh")):
    return KeepalivedProgram(command, ScriptedRunner(status, output))


def test_silence_is_consent(file):
    assert program().check(file) == "Configuration file is valid"


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (6, [SECURITY]),
        (6, [SECURITY, NOPREEMPT]),
        (5, [NOPREEMPT]),
        (5, [AUTHENTICATION, TRUNCATED]),
        (6, [FIFO, SECURITY]),
        (5, [NO_MEMBERS]),
        (6, [CHECKS, NO_MEMBERS]),
    ],
)
def test_remarks_on_what_controllers_send_are_no_refusal(file, status, lines):
    assert program(status, "\n".join(lines)).check(file) == "\n".join(lines)


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (5, ["(Line 11) Unknown keyword 'nonsense'"]),
        # Here the status speaks of security only.
        (6, [SECURITY, "(v1) the virtual router id must be set"]),
        (4, ["Non-existent interface specified in configuration"]),
        (5, ["Disabling track script chk since not found/accessible"]),
    ],
)
def test_everything_else_is_a_refusal(file, status, lines):
    with pytest.raises(InvalidConfiguration) as refusal:
        program(status, "\n".join(lines)).check(file)
    assert refusal.value.details == "\n".join(lines)


def test_a_script_that_is_not_run_is_refused_with_the_reason(file):
    words = f"Disabling track script chk due to insecure\n{SECURITY}"
    with pytest.raises(InvalidConfiguration) as refusal:
        program(6, words).check(file)
    assert refusal.value.details.startswith(f"{words}\n")
    assert "symbolic link" in refusal.value.details
    assert "real path" in refusal.value.details


def test_a_refusal_without_a_word_is_one(file):
    with pytest.raises(InvalidConfiguration, match="status 5"):
        program(5).check(file)


def test_repetitions_and_staged_names_are_left_out(file):
    output = f"({file}: Line 1) bad\n({file}: Line 1) bad\n({file.name}: Line 2) worse\n"
    with pytest.raises(InvalidConfiguration) as refusal:
        program(5, output).check(file, names={str(file): "octavia-keepalived.conf"})
    assert refusal.value.details == (
        "(octavia-keepalived.conf: Line 1) bad\n(octavia-keepalived.conf: Line 2) worse"
    )


def test_a_check_that_could_not_be_done_is_no_refusal(file):
    with pytest.raises(OperationFailed, match="status 1: Cannot open network namespace"):
        program(1, "Cannot open network namespace").check(file)
    with pytest.raises(OperationFailed, match="no-such-namespace does not exist"):
        program().check(file, namespace="no-such-namespace")


def test_a_missing_file_is_not_taken_for_an_empty_one(short_dir):
    with pytest.raises(OperationFailed, match="is missing"):
        program().check(short_dir / "gone.conf")


@pytest.mark.parametrize(
    ("command", "reason"), [("/no/keepalived", "no such file"), ("/etc/passwd", "not executable")]
)
def test_an_executable_that_is_none_is_told(file, command, reason):
    with pytest.raises(OperationFailed, match=reason):
        program(command=Path(command)).check(file)


def test_the_service_stays_in_the_foreground():
    argv = program().service_argv(Path("/v/agent.conf"), Path("/v/a.pid"), Path("/v/b.pid"))
    assert argv[0] == "/bin/sh"
    assert {"-n", "-P"} <= set(argv)
    assert argv[-6:] == ("-f", "/v/agent.conf", "-p", "/v/a.pid", "-r", "/v/b.pid")
