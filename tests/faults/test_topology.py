# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of changes of topology."""

import os

import pytest

from tests.faults.matrix import parameters
from tests.faults.ports import remove_link
from tests.faults.rig import rig_inside
from tests.faults.running import run_cell
from tests.faults.topologies import KINDS, TopologyScenario, make_port


@pytest.fixture(scope="module")
def rig():
    with rig_inside(f"amp-faults-{os.getpid()}") as rig:
        try:
            make_port(rig.agent)
            yield rig
            rig.agent.call("PUT", "/v0.1/vrrp/stop")
        finally:
            remove_link()


@pytest.mark.parametrize("cell", parameters(*KINDS, sample=72))
def test_the_old_or_the_new_topology_is_in_force_and_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, TopologyScenario(ready, cell.kind), cell)
