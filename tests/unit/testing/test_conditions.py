# SPDX-License-Identifier: Apache-2.0
import errno
import os
import resource
import subprocess

import pytest

from amphora.testing.conditions import (
    descriptors_left,
    files_named,
    full_disk,
    memory_directory,
    no_processes,
    open_descriptors,
)


def test_nothing_can_be_written_to_a_full_disk(tmp_path):
    path = tmp_path / "file"
    path.write_text("former")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with full_disk(), pytest.raises(OSError, match="too large") as caught:
        path.write_text("new")
    assert caught.value.errno == errno.EFBIG
    assert path.read_text() == ""
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    path.write_text("new")
    assert path.read_text() == "new"


# With the ban on commands of all unit tests in force, the one under test would not be reached.
@pytest.mark.real_commands
@pytest.mark.parametrize(
    ("way", "start"),
    [
        ("subprocess.Popen", lambda: subprocess.run(["/bin/true"], check=False)),
        ("os.fork", lambda: os.fork()),
        ("os.system", lambda: os.system("true")),
        ("os.posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {})),
    ],
)
def test_attempts_to_start_a_process_are_refused_and_noted(way, start):
    with no_processes() as attempts, pytest.raises(OSError, match=f"{way} is forbidden"):
        start()
    assert attempts == [way]


def test_descriptors_that_stay_open_are_named(tmp_path):
    before = open_descriptors()
    assert descriptors_left(before) == ""
    with (tmp_path / "left").open("w"):
        assert descriptors_left(before) == f"1 descriptors stay open: ['{tmp_path}/left']"
    assert descriptors_left(before) == ""


def test_files_are_found_by_part_of_their_name(tmp_path):
    (tmp_path / "a" / "web.service.d").mkdir(parents=True)
    (tmp_path / "a" / "web.service.d" / "other.conf").touch()
    (tmp_path / "S20web").symlink_to("nowhere")
    found = files_named("web", [tmp_path, tmp_path / "missing"])
    assert found == [f"{tmp_path}/S20web", f"{tmp_path}/a/web.service.d"]


def test_a_memory_directory_can_be_written():
    path = memory_directory() / f"amp-{os.getpid()}-conditions"
    path.touch()
    path.unlink()
