# SPDX-License-Identifier: Apache-2.0
from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.testing.network import PATIENCE, NetworkContract
from amphora.testing.network_kernel import NetworkFaultContract, NetworkKernelContract


class Pyroute2:
    def build(self, bench, directory, access):
        return Pyroute2Network(
            directory, bench.data, bench.runner, access=access, patience=PATIENCE, root=bench.root
        )


class TestPyroute2(Pyroute2, NetworkKernelContract, NetworkContract):
    pass


class TestFaults(Pyroute2, NetworkFaultContract):
    pass
