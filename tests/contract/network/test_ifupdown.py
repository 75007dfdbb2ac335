# SPDX-License-Identifier: Apache-2.0
from amphora.drivers.network.ifupdown import IfupdownNetwork
from amphora.system.command import CommandRunner
from amphora.testing.network import PATIENCE
from amphora.testing.network_kernel import NetworkFaultContract
from amphora.testing.suites import NetworkSuite


class Ifupdown:
    def build(self, directory):
        return IfupdownNetwork(
            directory / "interfaces",
            directory / "state",
            self.namespace,
            CommandRunner(),
            access=self.access,
            timeout=PATIENCE,
        )


class TestIfupdown(Ifupdown, NetworkSuite):
    pass


class TestFaults(Ifupdown, NetworkFaultContract):
    pass
