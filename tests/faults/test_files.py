# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of changes to certificates and to the agent's own files."""

import pytest

from tests.faults.files import OWN_KINDS, TENANT_KINDS, CertificateScenario, OwnFileScenario
from tests.faults.matrix import parameters
from tests.faults.running import run_cell


@pytest.mark.parametrize("cell", parameters(*TENANT_KINDS))
def test_a_certificate_is_the_old_or_the_new_one(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, CertificateScenario(ready, cell.kind), cell)


@pytest.mark.parametrize("cell", parameters(*OWN_KINDS))
def test_a_file_of_the_agent_is_the_old_or_the_new_one(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, OwnFileScenario(ready, cell.kind), cell)
