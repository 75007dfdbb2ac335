# SPDX-License-Identifier: Apache-2.0
"""One amphora for the tests of a file, driven by controllers that nobody here wrote."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.interop import rig
from tests.interop.balancers import balancer
from tests.interop.members import Members
from tests.interop.visits import Visitor


@pytest.fixture(scope="module")
def kind():
    """Of the controllers that drive an amphora; files that try several override it."""
    return "newest"


@pytest.fixture(scope="module")
def amphora(request, kind):
    """A booted amphora for each kind of controller, with no port and no load balancer yet.

    A file's ``TOPOLOGY`` says what its configuration has.
    """
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    with rig.Cloud() as cloud:
        booted = rig.Amphora(directory, cloud, getattr(request.module, "TOPOLOGY", "SINGLE"))
        yield booted
        booted.clean_up()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def newest(amphora):
    """A controller of the newest release, which has plugged the VIP's port and a member network's."""
    controller = amphora.controller("newest")
    amphora.cloud.attach(rig.VIP_MAC, "br-vip")
    amphora.cloud.attach(rig.MEMBER_MAC, "br-mem")
    nothing = balancer([], [])
    controller.plug_vip(balancer=nothing, port=rig.VIP_PORT, subnet=rig.SUBNET, additional=rig.ADDITIONAL)
    controller.plug_network(port=rig.MEMBER_PORT, vip_subnet=rig.SUBNET)
    return controller


@pytest.fixture(scope="module")
def plugged(amphora, newest):
    """The amphora with these ports."""
    return amphora


@pytest.fixture(scope="module")
def members(amphora):
    """Servers on the member network."""
    made = Members(amphora.cloud.members, amphora.directory)
    yield made
    made.close()


@pytest.fixture(scope="module")
def visitor(amphora):
    """A client on the VIP's network."""
    return Visitor(amphora.cloud.client)
