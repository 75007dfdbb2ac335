# SPDX-License-Identifier: Apache-2.0
"""The standalone process manager keeps the contract for an ordinary user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.real_commands,
    pytest.mark.skipif("os.geteuid() != 0", reason="whoever is no root runs test_standalone.py as a user"),
]

REPOSITORY = Path(__file__).resolve().parents[3]
SUITE = Path(__file__).with_name("test_standalone.py")

# Reading everything is the one privilege kept: the interpreter may live in root's home.
AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


def test_keeps_the_contract_as_nobody():
    pytest_argv = (sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(SUITE))
    done = subprocess.run(
        [*AS_NOBODY, *pytest_argv],
        cwd=REPOSITORY,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "2 skipped" in done.stdout, done.stdout
    assert "needs root" in done.stdout, done.stdout
