# SPDX-License-Identifier: Apache-2.0
"""The systemd process manager keeps the contract. Run inside a machine that test_systemd.py boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from amphora.drivers.process_manager.systemd import SystemdProcessManager
from amphora.system.command import CommandRunner
from amphora.testing.suites import ProcessManagerSuite
from tests.support.haproxy_service import HaproxyChecks

pytestmark = pytest.mark.real_commands


class TestSystemdProcessManager(ProcessManagerSuite):
    def build(self, directory: Path) -> SystemdProcessManager:
        return SystemdProcessManager(CommandRunner())


class TestHaproxy(HaproxyChecks):
    def build(self, directory: Path) -> SystemdProcessManager:
        return SystemdProcessManager(CommandRunner())
