# SPDX-License-Identifier: Apache-2.0
"""The sysvinit process manager keeps the contract. Run inside a machine that test_sysvinit.py boots."""

from __future__ import annotations

from pathlib import Path

import pytest

from amphora.drivers.process_manager.sysvinit import SysvinitProcessManager
from amphora.system.command import CommandRunner
from amphora.testing.suites import ProcessManagerSuite
from tests.support.haproxy_service import HaproxyChecks

pytestmark = pytest.mark.real_commands


class TestSysvinitProcessManager(ProcessManagerSuite):
    def build(self, directory: Path) -> SysvinitProcessManager:
        return SysvinitProcessManager(directory / "state", CommandRunner())


class TestHaproxy(HaproxyChecks):
    def build(self, directory: Path) -> SysvinitProcessManager:
        return SysvinitProcessManager(directory / "state", CommandRunner())
