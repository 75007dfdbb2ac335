# SPDX-License-Identifier: Apache-2.0
"""What the suites of all families have in common: one factory, and a directory to work in."""

from __future__ import annotations

import abc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from amphora.drivers.base import Driver


class DriverSuite(abc.ABC):
    """Inherit the suite of a family and say how to build the driver; that is all it needs."""

    @abc.abstractmethod
    def build(self, directory: Path) -> Driver:
        """Return a driver that keeps its files in this directory.

        Called again with the same directory it plays the agent's restart: what the contract calls
        durable must still be there.
        """

    def scratch_parent(self) -> Path:
        """Return where directories for drivers are made. A short path: they may come to hold sockets."""
        return Path("/tmp")  # noqa: S108

    @pytest.fixture
    def scratch_directory(self) -> Iterator[Path]:
        """Give a new, empty directory that is removed after the test."""
        directory = Path(tempfile.mkdtemp(prefix="amp-", dir=self.scratch_parent()))
        try:
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
