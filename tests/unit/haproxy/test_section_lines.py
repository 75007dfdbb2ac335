# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.lines import read_lines
from amphora.haproxy.reading.section_lines import global_values, section_lines

TEXT = """odd
global
  maxconn 5
.if defined(X)
  nbthread 2
.endif
frontend f
  bind "$X" :80
global
  maxconn 7 # again
"""


def test_lines_know_their_section_and_whether_they_are_certain():
    found = [(p.section, p.words[0], p.certain, p.head) for p in section_lines(read_lines(TEXT))]
    assert found == [
        ("", "odd", True, False),
        ("global", "global", True, True),
        ("global", "maxconn", True, False),
        ("global", "nbthread", False, False),
        ("frontend", "frontend", True, True),
        ("frontend", "bind", True, False),
        ("global", "global", True, True),
        ("global", "maxconn", True, False),
    ]


def test_words_that_depend_on_the_environment_are_not_known():
    bind = next(p for p in section_lines(read_lines(TEXT)) if p.words[0] == "bind")
    assert [bind.known(position) for position in range(4)] == ["bind", "", ":80", ""]


def test_the_last_use_of_a_global_keyword_counts():
    assert global_values(read_lines(TEXT)) == {"maxconn": ("7",), "nbthread": ("2",)}


@given(st.text())
def test_odd_text_never_raises(text):
    lines = list(read_lines(text))
    assert len(list(section_lines(lines))) <= len(lines)
    global_values(lines)
