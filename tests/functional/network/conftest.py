# SPDX-License-Identifier: Apache-2.0
"""Links and namespaces that stand for an amphora and its wire."""

import os

import pytest

from amphora.drivers.network.pyroute2 import Pyroute2Network
from amphora.testing.network_bench import KernelBench


@pytest.fixture
def bench(tmp_path):
    bench = KernelBench(f"npf{os.getpid()}")
    try:
        bench.open()
        bench.driver = Pyroute2Network(tmp_path, bench.data, bench.runner, root=bench.root)
        yield bench
    finally:
        bench.close()
