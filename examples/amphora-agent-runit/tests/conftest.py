# SPDX-License-Identifier: Apache-2.0
"""A runsvdir to test with: as on a real machine it is no child of the agent, so that services survive."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def service_directory():
    """A directory that a runsvdir of these tests watches."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    # A service that no runsv can take up makes runsvdir look every second rather than every five.
    (directory / "impatience").mkdir()
    (directory / "impatience" / "supervise").touch()
    with subprocess.Popen(
        ["runsvdir", "-P", str(directory)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PATH": f"{os.environ['PATH']}:/usr/bin:/sbin"},
    ) as runsvdir:
        yield directory
        runsvdir.terminate()
    shutil.rmtree(directory)
