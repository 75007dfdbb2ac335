# SPDX-License-Identifier: Apache-2.0
"""What initctl prints, read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.upstart.initctl import Initctl, JobStatus, parse_status
from amphora.errors import CommandTimeout, ServiceError
from amphora.system.command import CommandResult, CommandRunner


class ScriptedRunner(CommandRunner):
    """Gives one answer after the other; notes what was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.commands = []

    def run(self, argv, *, timeout, namespace="", environment=None):
        self.commands.append(" ".join(argv))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return CommandResult(tuple(argv), *answer)


def build(*answers):
    return Initctl(ScriptedRunner(*answers), "initctl")


@pytest.mark.parametrize(
    ("output", "status"),
    [
        ("J start/running, process 13\n", JobStatus("start", "running", 13)),
        ("J stop/waiting\n", JobStatus("stop", "waiting")),
        ("J start/pre-start, process 20\n", JobStatus("start", "pre-start", 20)),
        ("J stop/killed, process 13\n", JobStatus("stop", "killed", 13)),
        ("J respawn/post-start, process 1\n", JobStatus("respawn", "post-start", 1)),
        ("status: Unknown job: J\n", None),
        ("JJ stop/waiting\n", None),
        ("", None),
    ],
)
def test_reads_status_lines(output, status):
    assert parse_status(output, "J") == status


@given(st.text())
def test_any_output_is_read(output):
    parse_status(output, "J")


def test_unknown_job_has_no_status():
    assert build((1, "initctl: Unknown job: J\n")).status("J") is None


def test_no_answer_is_no_status():
    with pytest.raises(ServiceError, match="Unable to connect"):
        build((1, "initctl: Unable to connect to Upstart\n")).status("J")
    with pytest.raises(ServiceError, match="did not finish"):
        build(CommandTimeout(["initctl"], 10)).status("J")


def test_start_that_failed_is_reported():
    with pytest.raises(ServiceError, match="Job failed to start"):
        build((1, "initctl: Job failed to start\n")).start("J", 1)


@pytest.mark.parametrize("after", [(0, "J stop/waiting\n"), (1, "initctl: Unknown job: J\n")])
def test_stop_that_fails_is_proven_by_the_state(after):
    initctl = build((1, "initctl: Method does not exist\n"), after)
    initctl.stop("J", 1)


def test_stop_that_left_it_running_is_reported():
    with pytest.raises(ServiceError, match="left it in start/running"):
        build((1, "initctl: no"), (0, "J start/running, process 3\n")).stop("J", 1)
