# SPDX-License-Identifier: Apache-2.0
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.system.processes import descriptor_limit, has_capability, open_files_left, parse_hard_limit

LIMITS = "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 {} files\n"


@pytest.fixture
def proc(short_dir):
    (short_dir / "7").mkdir()
    (short_dir / "sys/fs").mkdir(parents=True)
    (short_dir / "sys/fs/nr_open").write_text("9000\n")
    (short_dir / "sys/fs/file-nr").write_text("100\t0\t500\n")

    def write(hard, capabilities):
        (short_dir / "7/limits").write_text(LIMITS.format(hard))
        (short_dir / "7/status").write_text(f"Name:\tx\nCapEff:\t{capabilities}\n")
        return short_dir

    return write


@pytest.mark.parametrize(
    ("hard", "capabilities", "expected"),
    [
        ("4096", "0000000000000000", 4096),
        ("4096", "000001ffffffffff", 9000),
        ("4096", "000001fffeffffff", 4096),
        ("unlimited", "0", 9000),
    ],
)
def test_the_privilege_to_raise_limits_counts(proc, hard, capabilities, expected):
    assert descriptor_limit(7, proc(hard, capabilities)) == expected


def test_the_machine_s_own_table_is_read(proc):
    directory = proc("1", "0")
    assert open_files_left(directory) == 400
    (directory / "sys/fs/file-nr").write_text("odd\n")
    assert open_files_left(directory) is None


def test_this_process_has_limits():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptor_limit() >= min(hard, 1024) or hard == resource.RLIM_INFINITY
    assert descriptor_limit(2**22 + 1) is None
    assert open_files_left() > 0


@given(st.text())
def test_odd_text_never_raises(text):
    parse_hard_limit(text)
    parse_hard_limit("Max open files" + text.replace("\n", ""))
    assert has_capability("CapEff:" + text, 24) in (True, False)
