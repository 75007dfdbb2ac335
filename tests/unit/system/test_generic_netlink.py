# SPDX-License-Identifier: Apache-2.0
"""Generic netlink with the kernel of this machine, which always knows the family that tells of families."""

import errno
from pathlib import Path

import pytest

from amphora.errors import OperationFailed
from amphora.system.netlink import attributes, dump

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
