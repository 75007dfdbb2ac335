# SPDX-License-Identifier: Apache-2.0
"""Rendered job files, against golden files, the reading of init(5), and a real shell's reading of scripts."""

import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.drivers.process_manager.upstart.jobs import (
    JOB,
    MANUAL,
    JobPaths,
    quote_word,
    render_job,
)
from amphora.errors import ServiceError
from amphora.models import Readiness, RestartPolicy, ServiceSpec
from tests.support.service_specs import GOLDEN, HAPROXY, PLAIN
from tests.support.upstart.job_file import parse_job

AWKWARD = ServiceSpec(
    name="awkward",
    description='100% of\nall "things" \\',
    argv=("/opt/my program/run", "two words", "$HOME", "it's", 'a "quote"', "back\\", "", "line\nbreak", "#"),
    environment={"GREETING": "hello % world", "B": "grüße", "LINES": "a\nb", "TERM": "dumb"},
    pid_file=Path("/run/100%.pid"),
    restart=RestartPolicy(on_crash=False, delay=0),
    readiness=Readiness.FORKING,
)


def paths(spec):
    return JobPaths.of(spec.name, Path("/etc/init"), Path("/var/lib/octavia/services"))


def rendered(spec):
    return render_job(spec, paths(spec))


@pytest.mark.parametrize("spec", [PLAIN, HAPROXY, AWKWARD], ids=lambda spec: spec.name)
def test_renders_as_the_golden_file_says(spec):
    # After a change on purpose write the new text there and read the difference.
    assert rendered(spec) == (GOLDEN / f"{spec.name}.job").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", [PLAIN, HAPROXY, AWKWARD], ids=lambda spec: spec.name)
def test_job_gives_its_spec_back(spec):
    assert JOB.read(rendered(spec)) == spec


def test_job_of_somebody_else_has_no_spec():
    assert JOB.read("exec /bin/true\n") is None


@pytest.mark.parametrize("tail", ["", "\n# Spec: {", "\n# Spec: {}\n", "\nexec /bin/true\n"])
def test_damaged_job_is_reported(tail):
    with pytest.raises(ServiceError, match="damaged"):
        JOB.read(JOB.header + tail)


def test_means_what_it_should():
    job = parse_job("haproxy-8a1b", rendered(HAPROXY))
    assert (job.start_on, job.stop_on) == ("runlevel [2345]", "runlevel [!2345]")
    assert (job.respawn, job.respawn_limit, job.respawn_interval) == (True, 10, 5)
    assert (job.kill_timeout, job.reload_signal, job.expect) == (10, signal.SIGUSR2, "")
    assert set(job.processes) == {"pre-start", "main", "post-stop"}
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in job.environment


def test_override_keeps_it_from_starting():
    assert parse_job("plain", rendered(PLAIN), MANUAL).start_on == ""


def test_service_that_is_not_to_be_restarted_has_no_respawn():
    job = parse_job("awkward", rendered(AWKWARD))
    assert not job.respawn
    assert "sleep 0.100" not in job.processes["post-stop"].text


def test_times_are_whole_seconds_and_never_none():
    assert parse_job("plain", rendered(replace(PLAIN, stop_timeout=0.2))).kill_timeout == 1
    assert parse_job("plain", rendered(replace(PLAIN, stop_timeout=2.1))).kill_timeout == 3


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))


@given(st.lists(words))
def test_quoted_words_are_read_back(argv):
    line = " ".join(quote_word(word) for word in argv)
    assert "\n" not in line
    newline = '"$_amphora_newline"'
    # Between quotes of its own it is the only thing that a shell would replace.
    assert shlex.split(line.replace(newline, "'\n'")) == argv


@given(words, words, st.lists(words), st.dictionaries(st.from_regex(r"[A-Z]+", fullmatch=True), words))
def test_no_value_escapes_from_its_line(description, name, argv, environment):
    spec = replace(PLAIN, description=description, argv=("/bin/x", *argv), environment=environment)
    text = rendered(spec)
    assert JOB.read(text) == spec
    job = parse_job("plain", text)
    usual = parse_job("plain", rendered(PLAIN))
    assert job.processes["post-stop"] == usual.processes["post-stop"]
    assert (job.start_on, job.stop_on, job.respawn) == (usual.start_on, usual.stop_on, usual.respawn)
    command = job.processes["main"].text.rstrip("\n").rpartition("\n")[2]
    assert command.startswith("exec /bin/x ")
    assert command.endswith(" 9<&-")
