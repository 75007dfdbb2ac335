# SPDX-License-Identifier: Apache-2.0
"""An installed driver as ``amphora-agent-conformance`` builds it: as the agent would, in a directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amphora.drivers.base import Driver, DriverContext
from amphora.system.command import CommandRunner


@dataclass(frozen=True, slots=True)
class InstalledDriver:
    """A driver as the agent would build it.

    :ivar scratch: where directories for it are made.
    """

    driver_class: type[Driver]
    scratch: Path

    def build(self, directory: Path, namespace: str = "") -> Any:
        """Return a driver whose directories are all below this one."""
        return self.driver_class.create(context(directory, namespace))


def context(directory: Path, namespace: str = "") -> DriverContext:
    """Return what a driver is built from, with everything below one directory."""
    return DriverContext(
        state_directory=directory / "state",
        certificate_directory=directory / "certs",
        interface_directory=directory / "interfaces",
        namespace=namespace,
        runner=CommandRunner(),
    )
