# SPDX-License-Identifier: Apache-2.0
"""The command as authors use it: what it prints, how it exits, and that no driver can hang it."""

import json
import secrets
import signal
import subprocess
import sys

import pytest

from amphora.system.processes import PROC, process_ids

pytestmark = pytest.mark.real_commands

STARTED = "test_started_service_runs_since_now"


def test_a_sound_driver_passes(conformance):
    done = conformance("package_manager", "dpkg", status=0)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("package_manager driver dpkg of amphora-agent ")
    assert "passed  others are left out" in lines
    assert lines[-1].startswith("8 passed, 0 failed in ")
    assert done.stderr == ""


def test_failures_are_told_in_one_line_each(conformance):
    done = conformance("cert_store", "DeleteSaysYes", status=1)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert failed == [
        "FAILED  delete tells whether it was there and may be repeated: "
        "delete() of a file that was not there says it was"
    ]
    assert ", 1 failed in " in done.stdout.splitlines()[-1]


def test_the_document_tells_everything(conformance):
    report = json.loads(conformance("cert_store", "FileModeTooOpen", "--json", status=1).stdout)
    assert set(report) == {
        *("family", "name", "distribution", "version", "passed", "failed", "skipped", "seconds")
    }
    assert (report["family"], report["name"]) == ("cert_store", "FileModeTooOpen")
    assert len(report["passed"]) > 20
    assert {failure["promise"] for failure in report["failed"]} == {
        f"only the owner can read it (umask-{umask})" for umask in ("000", "022", "277")
    }


def test_a_driver_that_blocks_is_ended_and_the_rest_is_tested(conformance):
    options = (f"--test={STARTED}", "--test=test_unknown_name_is_absent", "--timeout=3")
    done = conformance("process_manager", "BlocksForEver", "--json", *options, status=1)
    report = json.loads(done.stdout)
    assert report["passed"] == ["test_unknown_name_is_absent"]
    (failure,) = report["failed"]
    assert failure["test"] == STARTED
    assert failure["reason"].startswith("blocked longer than 3 s (in start() at process_managers.py:")


@pytest.mark.parametrize(
    ("driver", "test", "reason"),
    [
        ("CannotBeInterrupted", STARTED, "blocked longer than 3 s in a way that cannot be interrupted"),
        (
            "TakesTheProcessDown",
            "test_reload_keeps_the_process",
            "it took the process down, which was killed by SIGABRT",
        ),
    ],
)
def test_a_driver_that_costs_the_process_is_told_and_the_rest_is_tested(conformance, driver, test, reason):
    # Two tests after the fatal one: they are run by a process that the driver has not spoilt.
    rest = ["test_stop_may_be_repeated", "test_unknown_name_is_absent"]
    if driver == "CannotBeInterrupted":
        rest.remove("test_stop_may_be_repeated")
    options = [f"--test={name}" for name in (test, *rest)]
    done = conformance("process_manager", driver, "--json", "--timeout=3", *options, status=1)
    report = json.loads(done.stdout)
    assert [(failure["test"], failure["reason"]) for failure in report["failed"]] == [(test, reason)]
    assert sorted(report["passed"]) == rest


def test_no_process_of_a_driver_that_forgets_them_is_left(conformance):
    mark = f"SAMPLE_MARK={secrets.token_hex(8)}"
    name, _, value = mark.partition("=")
    options = ("--test=test_services_outlive_the_agent", "--json")
    conformance("process_manager", "LosesStateOnRestart", *options, status=1, **{name: value})
    assert [pid for pid in process_ids() if mark.encode() in environment_of(pid)] == []


def test_the_command_ends_what_it_started_when_it_is_ended(site_environment):
    mark = secrets.token_hex(8)
    argv = [sys.executable, "-m", "amphora.testing.conformance", "process_manager", "LosesStateOnRestart"]
    environment = site_environment | {"SAMPLE_MARK": mark}
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        # By then it has begun; the suite goes on for many seconds more.
        command.stdout.readline()
        command.send_signal(signal.SIGTERM)
        _, complaint = command.communicate(timeout=60)
    assert (command.returncode, complaint) == (130, b"amphora-agent-conformance: interrupted\n")
    assert [pid for pid in process_ids() if f"SAMPLE_MARK={mark}".encode() in environment_of(pid)] == []


def environment_of(pid):
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("process_manager", "nothing"),
            "'nothing' cannot be loaded: no such driver is installed; ",
        ),
        (("package_manager", "WrongError"), "'WrongError' could not be set up: KeyError: 'status'"),
        (("package_manager", "dpkg", "--test=test_everything"), "suite has no test 'test_everything'"),
        (("package_manager", "dpkg", "--part=kernel"), "the package_manager suite has no such part"),
    ],
)
def test_a_driver_that_cannot_be_tested_is_told_in_one_sentence(conformance, arguments, sentence):
    done = conformance(*arguments, "--json", status=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("amphora-agent-conformance: ")
    assert sentence in line
    assert sentence in json.loads(done.stdout)["error"]


def test_a_family_that_does_not_exist_is_refused(conformance):
    assert "invalid choice: 'kernel'" in conformance("kernel", "linux", status=2).stderr


def test_a_missing_pytest_is_told_with_what_to_install():
    script = (
        "import sys\n"
        "sys.modules['pytest'] = None\n"
        "from amphora.testing.conformance import main\n"
        "sys.exit(main(['package_manager', 'dpkg']))\n"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.endswith("pytest, which is not installed: pip install amphora-agent-testing")
