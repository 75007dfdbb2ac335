# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of plugs, with one of the network drivers."""

import os

import pytest

from tests.faults.matrix import SMALL_SAMPLE, parameters
from tests.faults.ports import PortScenario, kinds, remove_link
from tests.faults.rig import rig_inside
from tests.faults.running import run_cell

DRIVER = "pyroute2"


@pytest.fixture(scope="module")
def rig():
    options = {"drivers": {"process_manager": "standalone", "network": DRIVER}}
    with rig_inside(f"amp-faults-{os.getpid()}", options) as rig:
        yield rig
        remove_link()


@pytest.mark.parametrize("cell", parameters(*kinds(DRIVER), sample=SMALL_SAMPLE))
def test_a_port_is_plugged_or_as_it_was_and_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, PortScenario(ready, cell.kind), cell)
