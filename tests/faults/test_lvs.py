# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of changes to LVS listeners."""

import os

import pytest

from tests.faults.lvs import KINDS, LvsScenario
from tests.faults.matrix import SMALL_SAMPLE, parameters
from tests.faults.rig import rig_inside
from tests.faults.running import run_cell


@pytest.fixture(scope="module")
def rig():
    with rig_inside(f"amp-faults-{os.getpid()}") as rig:
        yield rig


@pytest.mark.parametrize("cell", parameters(*KINDS, sample=SMALL_SAMPLE))
def test_the_old_or_the_new_runs_and_is_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, LvsScenario(ready, cell.kind), cell)
