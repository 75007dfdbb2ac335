# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.system.memory import MemoryHeadroom, headroom, parse_cgroups, process_memory


@pytest.fixture
def machine(short_dir):
    """A /proc with 1000 MiB available, and control groups as they are written into it."""
    (short_dir / "self").mkdir()
    (short_dir / "meminfo").write_text("MemTotal: 2048000 kB\nMemAvailable: 1024000 kB\n")
    (short_dir / "self/cgroup").write_text("4:cpu,memory:/a/b\n0::/a/b\n")

    def room(**files):
        for name, text in files.items():
            path = short_dir / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return headroom(proc=short_dir, cgroups=short_dir / "cg")

    return room


def test_without_limits_the_machine_counts(machine):
    assert machine() == MemoryHeadroom(1024000 * 1024, "the machine")


def test_a_limit_of_any_group_above_counts(machine):
    room = machine(
        cg__a__b__memory_dot_max="max\n",
        cg__a__b__memory_dot_current="1\n",
        cg__a__memory_dot_max="5000000\n",
        cg__a__memory_dot_current="4000000\n",
        cg__a__memory_dot_stat="anon 5\ninactive_file 250000\n",
    )
    assert room == MemoryHeadroom(1_250_000, "control group /a")


def test_version_one_counts_too(machine):
    room = machine(
        cg__memory__a__b__memory_dot_limit_in_bytes="5000",
        cg__memory__a__b__memory_dot_usage_in_bytes="6000",
        cg__memory__memory_dot_limit_in_bytes="9223372036854771712",
        cg__memory__memory_dot_usage_in_bytes="1",
    )
    assert room == MemoryHeadroom(0, "control group /a/b")


def test_this_machine_has_memory_and_this_process_takes_some():
    assert headroom().available > 0
    assert headroom(os.getpid()).available > 0
    assert process_memory(os.getpid()) > 1024 * 1024
    assert process_memory(2**22 + 1) is None


@given(st.text())
def test_odd_group_files_never_raise(text):
    for path in parse_cgroups(text):
        assert path is None or path.startswith("/")
