# SPDX-License-Identifier: Apache-2.0
"""What is written can be read back by the rules of the text format 0.0.4."""

import re

from hypothesis import given
from hypothesis import strategies as st

from amphora.prometheus.exposition import counter, gauge, sample

SAMPLE = re.compile(
    r'(?P<name>[a-z_]+)(?:\{(?P<labels>(?:[a-z]+="(?:[^"\\]|\\[\\"n])*",?)*)\})? (?P<value>\S+)'
)
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\[\\"n])*)"')
ESCAPED = re.compile(r'\\([\\"n])')


def unescaped(text):
    return ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], text)


def test_description_and_kind_come_before_the_samples():
    lines = list(gauge("workers", "Of all.", sample(1, kind="new"), sample(2, kind="old")).lines())
    assert lines == [
        "# HELP workers Of all.",
        "# TYPE workers gauge",
        'workers{kind="new"} 1',
        'workers{kind="old"} 2',
    ]


def test_a_counter_says_so_and_needs_no_sample():
    assert list(counter("tries_total", "Tries.").lines()) == [
        "# HELP tries_total Tries.",
        "# TYPE tries_total counter",
    ]


def test_a_description_is_one_line():
    assert next(gauge("a", "one\ntwo \\ three").lines()) == r"# HELP a one\ntwo \\ three"


@given(
    st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    st.dictionaries(st.text("abc", min_size=1), st.text()),
)
def test_any_number_and_label_is_read_back(value, labels):
    *_, line = gauge("metric", "", sample(value, **labels)).lines()
    match = SAMPLE.fullmatch(line)
    # Read as what it was: an integer beyond a float's 53 bits is written in full.
    assert type(value)(match["value"]) == value
    assert {name: unescaped(text) for name, text in LABEL.findall(match["labels"] or "")} == labels
