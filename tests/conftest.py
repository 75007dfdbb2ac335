# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every kind of test."""

import shutil
import tempfile
from pathlib import Path

import pytest


@pytest.fixture
def short_dir():
    """A directory whose path is short enough for Unix sockets in it, which pytest's own is not."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/tmp"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def memory_dir():
    """Such a directory on tmpfs."""
    directory = Path(tempfile.mkdtemp(prefix="amp-", dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def report(request):
    """Adds a line to what is printed after all tests."""
    return lambda line: request.node.user_properties.append(("measured", line))


def pytest_terminal_summary(terminalreporter):
    reports = [each for outcome in ("passed", "failed") for each in terminalreporter.getreports(outcome)]
    lines = [line for each in reports for name, line in each.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
    # A test reports its properties after its call and again after its teardown.
    for line in dict.fromkeys(lines):
        terminalreporter.write_line(line)
