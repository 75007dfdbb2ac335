# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import InvalidConfiguration
from amphora.haproxy.reading.unsuitable_lines import group_named_in, without_group, without_run_mode

BODY = b"""\
global
    group  nogroup # of old controllers
    log /group group
frontend x
    group other
    http-request set-header x group\\ x
global
group again
"""


def test_only_the_group_of_the_global_sections_counts():
    assert group_named_in(BODY) == "nogroup"
    assert group_named_in(b"frontend x\n    group other\n") == ""
    assert group_named_in(b"global\n    group\n") == ""
    assert group_named_in(b"") == ""


def test_every_other_line_keeps_its_number():
    left = without_group(BODY)
    assert group_named_in(left) == ""
    changed = [
        number
        for number, (old, new) in enumerate(zip(BODY.split(b"\n"), left.split(b"\n"), strict=True))
        if old != new
    ]
    assert changed == [1, 7]


def test_what_the_command_line_says_is_left_out_of_global_sections():
    body = b"""\
global
  zero-warning
\tdaemon # in the background
  pidfile /run/x
  master-worker
  master-worker no-exit-on-failure
backend daemon
    server daemon 192.0.2.1:1
"""
    lines, left = body.split(b"\n"), without_run_mode(body).split(b"\n")
    assert [number for number, line in enumerate(lines) if line != left[number]] == [2, 3, 4]
    assert all(left[number].strip().startswith(b"#") for number in (2, 3, 4))
    assert len(left) == len(lines)


@given(st.lists(st.sampled_from([b"global", b"group a", b" group b", b"backend x", b"# c", b"\xc3\xa9 'd"])))
def test_of_any_configuration(lines):
    data = b"\n".join(lines)
    left = without_group(data)
    assert group_named_in(left) == ""
    assert left.count(b"\n") == data.count(b"\n")
    assert (left == data) is not bool(group_named_in(data))


def test_what_is_no_text_is_refused():
    for read in (group_named_in, without_group, without_run_mode):
        with pytest.raises(InvalidConfiguration):
            read(b"global\n group \xff")
