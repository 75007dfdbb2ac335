# SPDX-License-Identifier: Apache-2.0
"""Generic netlink with the kernel of this machine, which always knows the family that tells of families."""

import errno
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.errors import OperationFailed
from amphora.system.generic_netlink import attributes, dump

#: CTRL_CMD_GETFAMILY, CTRL_ATTR_FAMILY_NAME.
GET_FAMILY, FAMILY_NAME = 3, 2


def test_a_dump_has_every_object():
    names = {attributes(content)[FAMILY_NAME].rstrip(b"\0") for content in dump("nlctrl", 1, GET_FAMILY)}
    assert b"nlctrl" in names
    assert len(names) > 1


def test_a_family_that_the_kernel_does_not_have_is_none():
    assert dump("NoSuchFamily", 1, 1) is None


def test_a_kernel_without_ipvs_says_so():
    assert not Path("/proc/net/ip_vs").exists(), "this kernel has IPVS"
    assert dump("IPVS", 1, 4) is None


def test_a_refusal_is_told_with_the_kernels_reason():
    with pytest.raises(OperationFailed, match=f"nlctrl.*Errno {errno.EOPNOTSUPP}"):
        dump("nlctrl", 1, 200)


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=20), max_size=6))
def test_attributes_are_read_back(given_attributes):
    data = b"".join(
        struct.pack("=HH", 4 + len(content), kind) + content + b"\0" * (-len(content) % 4)
        for kind, content in given_attributes.items()
    )
    assert attributes(data) == given_attributes


@given(st.binary(max_size=60))
def test_odd_attributes_are_refused_or_lie_within_the_data(data):
    try:
        found = attributes(data)
    except ValueError:
        return
    assert all(content in data for content in found.values())
