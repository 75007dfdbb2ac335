# SPDX-License-Identifier: Apache-2.0
"""Run this repository's tests and code inside a booted machine."""

from __future__ import annotations

import sys

from tests.support.nspawn import REPOSITORY, Machine


def run_tests(machine: Machine, path: str, *options: str, **environment: str) -> None:
    """Run a test file inside; it passes with all of its tests and skips none.

    :param path: of the file, seen from the top of the repository.
    :param environment: variables that it sees.
    """
    done = machine.run(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options),
        *("--rootdir", str(REPOSITORY), "-c", str(REPOSITORY / "pyproject.toml"), str(REPOSITORY / path)),
        seconds=300,
        PYTHONDONTWRITEBYTECODE="1",
        **environment,
    )
    summary = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, done.stdout
    assert "passed" in summary, done.stdout
    assert "skipped" not in summary, done.stdout


def run_script(machine: Machine, script: str) -> str:
    """Run Python code inside, which must succeed; return what it printed."""
    done = machine.run(sys.executable, "-c", script, PYTHONPATH=str(REPOSITORY), PYTHONDONTWRITEBYTECODE="1")
    assert done.returncode == 0, done.stdout
    return done.stdout.strip()
