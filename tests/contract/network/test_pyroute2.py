# SPDX-License-Identifier: Apache-2.0
from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.system.command import CommandRunner
from amphora.testing.network import PATIENCE
from amphora.testing.network_kernel import NetworkFaultContract
from amphora.testing.suites import NetworkSuite


class Pyroute2:
    def build(self, directory):
        return Pyroute2Network(
            directory, self.namespace, CommandRunner(), access=self.access, timeout=PATIENCE
        )


class TestPyroute2(Pyroute2, NetworkSuite):
    pass


class TestFaults(Pyroute2, NetworkFaultContract):
    pass
