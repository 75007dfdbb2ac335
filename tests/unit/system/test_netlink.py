# SPDX-License-Identifier: Apache-2.0
"""Attributes of netlink messages."""

from hypothesis import given
from hypothesis import strategies as st

from amphora.system.netlink import attribute, attribute_list, attributes


def test_an_attribute_has_its_length_its_type_and_is_aligned():
    assert attribute(3, b"ab") == b"\x06\x00\x03\x00ab\x00\x00"


def test_a_type_that_is_repeated_is_listed_as_often():
    assert attribute_list(attribute(1, b"a") + attribute(1, b"b")) == [(1, b"a"), (1, b"b")]


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20), max_size=6))
def test_attributes_are_read_back(given_attributes):
    data = b"".join(attribute(kind, content) for kind, content in given_attributes.items())
    assert attributes(data) == given_attributes


@given(st.binary(max_size=60))
def test_odd_attributes_are_refused_or_lie_within_the_data(data):
    try:
        found = attributes(data)
    except ValueError:
        return
    assert all(content in data for content in found.values())
