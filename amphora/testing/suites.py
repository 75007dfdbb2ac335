# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E402 - pytest rewrites only what is registered before it is imported
"""The contract of each driver family as one class of tests to inherit.

Each needs a factory and nothing else::

    class TestMyCertStore(CertStoreSuite):
        def build(self, directory):
            return MyCertStore(directory)

``directory`` is new and empty for each test; called again with the same one, ``build`` plays the agent's
restart. The tests need pytest and real processes, files and interfaces; those of the network need root.
The parts that a suite is made of are classes too, for drivers that cannot keep all of a contract because
nothing stands behind them, as the fakes.
"""

from __future__ import annotations

import abc
import sys
from pathlib import Path

import pytest

_MODULES = (
    "cert_store",
    "network",
    "network_bench",
    "network_differences",
    "network_kernel",
    "package_manager",
    "process_manager",
    "process_manager_processes",
    "process_manager_traces",
    "service_bench",
)
# Otherwise a failing assertion in them would not show the values it compared; too late for some that
# a test has imported before.
pytest.register_assert_rewrite(
    *(name for name in (f"{__package__}.{module}" for module in _MODULES) if name not in sys.modules)
)

from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.package_manager.base import PackageManager
from amphora.testing.cert_store import ONE, CertStoreContract
from amphora.testing.conditions import memory_directory
from amphora.testing.network import NetworkContract
from amphora.testing.network_differences import NetworkDifferencesContract
from amphora.testing.network_kernel import NetworkKernelContract
from amphora.testing.package_manager import WELL_KNOWN, PackageManagerContract
from amphora.testing.process_manager import ProcessManagerContract
from amphora.testing.process_manager_processes import ProcessManagerProcessContract
from amphora.testing.process_manager_traces import ProcessManagerTraceContract
from amphora.testing.scratch import DriverSuite


class ProcessManagerSuite(ProcessManagerTraceContract, ProcessManagerProcessContract, ProcessManagerContract):
    """The whole contract of process managers.

    ``build(directory)`` returns a driver with its state in ``directory``, if it needs one.
    """


class CertStoreSuite(CertStoreContract, DriverSuite):
    """The whole contract of certificate stores.

    ``build(directory)`` returns a store in ``directory``, which lies on a memory-backed file system.
    """

    def scratch_parent(self) -> Path:
        """Return a memory-backed file system."""
        return memory_directory()

    @abc.abstractmethod
    def build(self, directory: Path) -> CertStore:
        """Return a store in this directory, the same store for the same directory."""

    @pytest.fixture
    def store(self, scratch_directory: Path) -> CertStore:
        """Give a new, empty store."""
        return self.build(scratch_directory)

    def test_a_new_agent_finds_what_is_stored(self, store: CertStore, scratch_directory: Path) -> None:
        """Memory outlives the agent, though not the machine."""
        store.put(ONE, "a.pem", b"first")
        digest = store.digest(ONE, "a.pem")
        again = self.build(scratch_directory)
        again.recover()
        assert again.directory(ONE) == store.directory(ONE)
        assert again.digest(ONE, "a.pem") == digest, "what was stored is gone when the agent restarts"


class PackageManagerSuite(PackageManagerContract, DriverSuite):
    """The whole contract of package managers.

    ``build(directory)`` returns a driver on the machine's packages; few need the directory.
    """

    @abc.abstractmethod
    def build(self, directory: Path) -> PackageManager:
        """Return a driver on the packages of this machine, or on some that a test made."""

    @pytest.fixture
    def package_manager(self, scratch_directory: Path) -> PackageManager:
        """Give a driver."""
        return self.build(scratch_directory)

    @pytest.fixture
    def installed_package(self, package_manager: PackageManager) -> str:
        """Give the name of a package that is installed; override it if the usual ones are missing."""
        versions = package_manager.installed_versions(WELL_KNOWN)
        found = [name for name, version in versions.items() if version]
        assert found, f"not one package that every machine has is reported: {', '.join(WELL_KNOWN)}"
        return found[0]


class NetworkSuite(NetworkDifferencesContract, NetworkKernelContract, NetworkContract):
    """The whole contract of network drivers. Needs root.

    ``build(directory)`` returns a driver for the data namespace ``self.namespace`` with its files in
    ``directory``. Links appear in the agent's own namespace, which is another one during a test.
    """
