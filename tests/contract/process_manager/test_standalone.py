# SPDX-License-Identifier: Apache-2.0
"""The standalone process manager keeps the contract, as whoever runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from amphora.drivers.process_manager.standalone import StandaloneProcessManager
from amphora.system.command import CommandRunner
from amphora.testing.suites import ProcessManagerSuite
from tests.support.haproxy_service import HaproxyChecks

pytestmark = pytest.mark.real_commands


class TestStandaloneProcessManager(ProcessManagerSuite):
    def build(self, directory: Path) -> StandaloneProcessManager:
        return StandaloneProcessManager(directory / "state", CommandRunner())


class TestHaproxy(HaproxyChecks):
    def build(self, directory: Path) -> StandaloneProcessManager:
        return StandaloneProcessManager(directory / "state", CommandRunner())
