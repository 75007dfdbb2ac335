# SPDX-License-Identifier: Apache-2.0
"""Both drivers keep the contracts of their families. Needs root, for namespaces."""

from __future__ import annotations

import pytest
from amphora.system.command import CommandRunner
from amphora.testing.network import PATIENCE, NetworkContract
from amphora.testing.network_kernel import NetworkKernelFixtures
from amphora.testing.suites import ProcessManagerSuite

from amphora_runit.process_manager import RunitProcessManager
from amphora_runit.recording_network import RecordingNetwork


class TestRunitProcessManager(ProcessManagerSuite):
    @pytest.fixture(autouse=True)
    def supervisor(self, service_directory):
        self.service_directory = service_directory

    def build(self, directory):
        return RunitProcessManager(directory / "state", CommandRunner(), self.service_directory)


class TestRecordingNetwork(NetworkContract, NetworkKernelFixtures):
    """What can be seen through the contract: it leaves links alone, so ``ip`` shows nothing of it."""

    def build(self, directory):
        return RecordingNetwork(directory, PATIENCE)
