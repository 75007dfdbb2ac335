# SPDX-License-Identifier: Apache-2.0
"""The families of drivers: their contracts and the order in which ``auto`` asks."""

from __future__ import annotations

from typing import Any

from amphora.drivers.cert_store.base import CertStore
from amphora.drivers.loader import Family
from amphora.drivers.network.base import NetworkDriver
from amphora.drivers.package_manager.base import PackageManager
from amphora.drivers.process_manager.base import ProcessManager

PROCESS_MANAGER = Family[ProcessManager](
    # Where an init system runs the machine it runs services best; standalone works everywhere. systemd
    # comes first because machines that run it often keep the tools of the others.
    "process_manager",
    ProcessManager,  # type: ignore[type-abstract]
    preferred=("systemd", "upstart", "sysvinit"),
    last_resort=("standalone",),
)
CERT_STORE = Family[CertStore]("cert_store", CertStore)  # type: ignore[type-abstract]
PACKAGE_MANAGER = Family[PackageManager](
    "package_manager",
    PackageManager,  # type: ignore[type-abstract]
    preferred=("dpkg", "rpm"),
    optional=True,
)
NETWORK = Family[NetworkDriver](
    # ifupdown needs all that pyroute2 needs and more, and objects where the machine does not use it.
    "network",
    NetworkDriver,  # type: ignore[type-abstract]
    preferred=("ifupdown", "pyroute2"),
    optional=True,
)
#: All of them, in the order in which an agent loads them.
FAMILIES: tuple[Family[Any], ...] = (PROCESS_MANAGER, CERT_STORE, PACKAGE_MANAGER, NETWORK)
