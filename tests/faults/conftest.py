# SPDX-License-Identifier: Apache-2.0
"""One agent for all cells of a file."""

import shutil
import tempfile
from pathlib import Path

import pytest

from tests.faults.rig import Rig


@pytest.fixture(scope="module")
def rig():
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    with pytest.MonkeyPatch.context() as monkeypatch, Rig(directory, monkeypatch) as rig:
        yield rig
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def ready(rig):
    """The agent, at work, without any fault."""
    rig.lift()
    if not rig.agent.is_running():
        rig.agent.start()
    return rig
