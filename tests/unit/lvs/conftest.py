# SPDX-License-Identifier: Apache-2.0
"""Configurations as controllers write them, and what the kernel then has."""

from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"


@pytest.fixture
def golden():
    return lambda name: (DATA / name).read_bytes()
