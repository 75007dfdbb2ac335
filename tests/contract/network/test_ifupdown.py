# SPDX-License-Identifier: Apache-2.0
from amphora.drivers.network.ifupdown import IfupdownNetwork
from amphora.testing.network import PATIENCE, NetworkContract
from amphora.testing.network_kernel import NetworkFaultContract, NetworkKernelContract


class Ifupdown:
    def build(self, bench, directory, access):
        return IfupdownNetwork(
            directory / "interfaces",
            directory / "state",
            bench.data,
            bench.runner,
            access=access,
            patience=PATIENCE,
            root=bench.root,
        )


class TestIfupdown(Ifupdown, NetworkKernelContract, NetworkContract):
    pass


class TestFaults(Ifupdown, NetworkFaultContract):
    pass
