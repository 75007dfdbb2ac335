# SPDX-License-Identifier: Apache-2.0
"""The suites over an installed driver; ``amphora-agent-conformance`` hands this file to pytest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from amphora.testing.conformance_run import InstalledDriver
from amphora.testing.scratch import DriverSuite
from amphora.testing.suites import CertStoreSuite, NetworkSuite, PackageManagerSuite, ProcessManagerSuite


class Installed(DriverSuite):
    """Builds the installed driver."""

    namespace = ""

    @pytest.fixture(autouse=True)
    def _take(self, installed_driver: InstalledDriver) -> None:
        self._installed = installed_driver

    def scratch_parent(self) -> Path:
        """Return the command's own directory."""
        return self._installed.scratch

    def build(self, directory: Path) -> Any:
        """Return the driver, built as by the agent."""
        return self._installed.build(directory, self.namespace)


class TestProcessManager(Installed, ProcessManagerSuite):
    """See :class:`ProcessManagerSuite`."""


class TestCertStore(Installed, CertStoreSuite):
    """See :class:`CertStoreSuite`."""


class TestPackageManager(Installed, PackageManagerSuite):
    """See :class:`PackageManagerSuite`."""


class TestNetwork(Installed, NetworkSuite):
    """See :class:`NetworkSuite`."""
