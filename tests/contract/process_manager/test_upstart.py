# SPDX-License-Identifier: Apache-2.0
"""The upstart process manager keeps the contract, over an emulated upstart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from amphora.drivers.process_manager.upstart import UpstartProcessManager
from amphora.testing.suites import ProcessManagerSuite
from tests.support.haproxy_service import HaproxyChecks
from tests.support.upstart.rig import Upstart, upstart_driver

pytestmark = pytest.mark.real_commands


class _OverUpstart:
    """Gives each test a machine of its own."""

    machine: Upstart

    @pytest.fixture(autouse=True)
    def _machine(self, short_dir: Path) -> Iterator[None]:
        self.machine = Upstart(short_dir)
        self.machine.boot()
        yield
        self.machine.kill()

    def build(self, directory: Path) -> UpstartProcessManager:
        return upstart_driver(self.machine, directory / "state")


class TestUpstartProcessManager(_OverUpstart, ProcessManagerSuite):
    pass


class TestHaproxy(_OverUpstart, HaproxyChecks):
    pass
