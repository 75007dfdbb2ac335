# SPDX-License-Identifier: Apache-2.0
"""What the programs that runsv starts compute; what they do is in the contract suite."""

from __future__ import annotations

import os

import pytest
from amphora.models import RestartPolicy, ServiceSpec
from amphora.system.processes import ProcessIdentity, identify

from amphora_runit.finish import describe
from amphora_runit.run import delay
from amphora_runit.service_directory import ServiceDirectory

SPEC = ServiceSpec("web", "A service", ("/bin/true",), restart=RestartPolicy(delay=0.5, max_delay=3.0))


@pytest.mark.parametrize(("crashes", "seconds"), [(0, 0), (1, 0.5), (2, 1), (3, 2), (4, 3), (10**9, 3)])
def test_delay_doubles_up_to_its_bound(crashes, seconds):
    assert delay(SPEC, crashes) == seconds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((3, 0), "it ended with exit status 3"),
        ((-1, 9), "it was killed by SIGKILL"),
        ((-1, 77), "it was killed by signal 77"),
    ],
)
def test_end_is_described(arguments, sentence):
    assert describe(*arguments) == sentence


def test_a_written_service_is_read_back_and_starts_unwanted(tmp_path):
    directory = ServiceDirectory(tmp_path / "web")
    assert directory.spec() is None
    directory.write(SPEC)
    assert (directory.spec(), directory.is_wanted()) == (SPEC, False)


def test_writing_again_changes_no_file(tmp_path):
    directory = ServiceDirectory(tmp_path / "web")
    directory.write(SPEC)
    directory.want(True)
    before = {path.name: path.stat().st_ino for path in directory.path.iterdir()}
    directory.write(SPEC)
    assert {path.name: path.stat().st_ino for path in directory.path.iterdir()} == before


def test_only_the_very_process_that_was_ready_is_believed(tmp_path):
    directory, own = ServiceDirectory(tmp_path), identify(os.getpid())
    assert directory.ready_main(own) is None
    directory.note_ready(own, own)
    assert directory.ready_main(own) == own
    assert directory.ready_main(ProcessIdentity(own.pid, own.start_ticks + 1)) is None
    directory.note_ready(own, ProcessIdentity(own.pid, own.start_ticks - 1))
    assert directory.ready_main(own) is None


@pytest.mark.parametrize("damage", [b"", b"1", b"1 2 3", b"1 2 3 4 5", b"x y z w"])
def test_a_damaged_note_says_nothing(tmp_path, damage):
    (tmp_path / "ready").write_bytes(damage)
    assert ServiceDirectory(tmp_path).ready_main(ProcessIdentity(1, 2)) is None


def test_only_the_end_of_a_long_output_is_kept_in_mind(tmp_path):
    directory = ServiceDirectory(tmp_path)
    directory.output.write_text("".join(f"line {number}\n" for number in range(100_000)))
    lines = directory.tail().splitlines()
    assert lines == [f"line {number}" for number in range(99_980, 100_000)]
