# SPDX-License-Identifier: Apache-2.0
"""Tables that change while they are read. Everything else of it runs against the real kernel."""

import pytest
from pyroute2.netlink.exceptions import NetlinkDumpInterrupted

from amphora.drivers.network.kernel import Kernel, Link
from amphora.errors import OperationFailed


class Message(dict):
    """One link as pyroute2 hands it over."""

    def get_attr(self, name):
        return {"IFLA_IFNAME": "eth0", "IFLA_ADDRESS": "FA:16:3E:00:00:01", "IFLA_MTU": 1500}[name]


def link(interrupted=False):
    return Message(index=2, flags=1, header={"flags": 2 | (0x10 if interrupted else 0)})


def interrupt():
    raise NetlinkDumpInterrupted
    yield


class Rtnetlink:
    """Answers in turn; the last answer stays."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def get_links(self):
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer() if callable(answer) else answer


@pytest.mark.parametrize("interrupted", [interrupt, (link(), link(interrupted=True))], ids=["0.8", "0.9"])
def test_a_table_that_changed_meanwhile_is_read_again(interrupted):
    kernel = Kernel(Rtnetlink(interrupted, interrupted, (link(),)))
    assert kernel.links() == [Link(2, "eth0", "fa:16:3e:00:00:01", up=True, mtu=1500)]


@pytest.mark.parametrize("interrupted", [interrupt, (link(interrupted=True),)], ids=["0.8", "0.9"])
def test_a_table_that_never_rests_is_an_error_in_the_end(interrupted):
    with pytest.raises(OperationFailed, match="links cannot be read: the kernel's table changed"):
        Kernel(Rtnetlink(interrupted)).links()
