# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of one kind of change to an instance."""

import pytest

from tests.faults.instances import STARTS, InstanceScenario
from tests.faults.matrix import parameters
from tests.faults.running import run_cell


@pytest.mark.parametrize("cell", parameters(*STARTS))
def test_the_old_or_the_new_runs_and_is_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, InstanceScenario(ready, cell.kind), cell)
