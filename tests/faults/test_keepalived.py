# SPDX-License-Identifier: Apache-2.0
"""The fault matrix of changes to keepalived."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from amphora.system.namespaces import enter
from tests.faults.keepalived import KINDS, KeepalivedScenario, make_namespace
from tests.faults.matrix import parameters
from tests.faults.rig import Rig
from tests.faults.running import run_cell


@pytest.fixture(scope="module")
def rig():
    namespace = f"amp-faults-{os.getpid()}"
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    try:
        make_namespace(namespace)
        with (
            pytest.MonkeyPatch.context() as patch,
            Rig(directory, patch, {"network": {"namespace": namespace}}, lambda: enter(namespace)) as rig,
        ):
            rig.namespace = namespace
            yield rig
            rig.agent.call("PUT", "/v0.1/vrrp/stop")
    finally:
        subprocess.run(["ip", "netns", "del", namespace], timeout=10, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("cell", parameters(*KINDS))
def test_the_old_or_the_new_runs_and_is_told(ready, cell, count):
    count("fault matrix", str(cell.kind))
    run_cell(ready, KeepalivedScenario(ready, cell.kind), cell)
