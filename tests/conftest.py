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
