# SPDX-License-Identifier: Apache-2.0
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.capabilities import Capabilities, capabilities_of, read_capabilities

VERSION_2_6 = """\
HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/
Status: long-term supported branch
Feature list : -51DEGREES +EPOLL -QUIC +SYSTEMD
Available filters :
\t[CACHE] +NOT_A_FEATURE
"""
ROWS = [row for row in fields(Capabilities) if row.metadata]


@pytest.mark.parametrize(
    ("output", "text", "numbers", "notifies"),
    [
        (VERSION_2_6, "2.6.12-1+deb12u4", (2, 6, 12), True),
        ("HA-Proxy version 2.0.13-2ubuntu0.3 2021/08/27 - x\n", "2.0.13-2ubuntu0.3", (2, 0, 13), False),
        ("HAProxy version 2.5-dev13 2021/11/02\nFeature list : -SYSTEMD\n", "2.5-dev13", (2, 5), False),
        ("HAProxy version 3.0.11-1 2026/10/15\nFeature list : -SYSTEMD\n", "3.0.11-1", (3, 0, 11), False),
        ("HAProxy version 3.2.26-1 2026/10/14\nFeature list : +SSL -ZLIB\n", "3.2.26-1", (3, 2, 26), True),
    ],
)
def test_versions(output, text, numbers, notifies):
    read = read_capabilities(output)
    assert (str(read), read.numbers, read.notifies) == (text, numbers, notifies)


def test_features():
    assert read_capabilities(VERSION_2_6).features == {"EPOLL", "SYSTEMD"}


@given(st.text())
def test_odd_version_output_is_refused(output):
    with pytest.raises(ValueError, match="no version"):
        read_capabilities(output)


@given(st.lists(st.integers(0, 10**9 - 1), min_size=2, max_size=4))
def test_every_version_number_is_read(numbers):
    output = f"HAProxy version {'.'.join(map(str, numbers))}-x\n"
    assert read_capabilities(output).numbers == tuple(numbers)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_each_row_holds_from_its_version_on_and_says_where_that_is_from(row):
    since = row.metadata["since"]
    assert getattr(capabilities_of("", (*since, 0)), row.name)
    assert not getattr(capabilities_of("", (since[0], since[1] - 1, 99)), row.name)
    assert not getattr(capabilities_of("", ()), row.name)
    assert row.metadata["source"]
    assert f":ivar {row.name}:" in (Capabilities.__doc__ or "")
