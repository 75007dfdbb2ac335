# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of changes to keepalived."""

import os

import pytest

from tests.faults.keepalived import KINDS, KeepalivedScenario, make_namespace
from tests.faults.matrix import parameters
from tests.faults.rig import rig_inside
from tests.faults.running import run_cell


@pytest.fixture(scope="module")
def rig():
    namespace = f"amp-faults-{os.getpid()}"
    make_namespace(namespace)
    with rig_inside(namespace) as rig:
        yield rig
        rig.agent.call("PUT", "/v0.1/vrrp/stop")


@pytest.mark.parametrize("cell", parameters(*KINDS))
def test_the_old_or_the_new_runs_and_is_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, KeepalivedScenario(ready, cell.kind), cell)
