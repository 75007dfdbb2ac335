# SPDX-License-Identifier: Apache-2.0
"""A process manager that runs services itself: for containers, development machines and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.records import RecordStore, current_boot_id
from amphora.drivers.process_manager.supervising import SupervisingProcessManager, check_supervision
from amphora.system.command import CommandRunner


class StandaloneProcessManager(SupervisingProcessManager):
    """Runs services as detached processes and keeps what it must know in a directory.

    Works as root and as an ordinary user.

    :param state_directory: absolute; must survive a machine restart. Made with mode 0700.
    :param stable_after: seconds a service must have run for a crash to count as the first in a row.
    """

    condition = "it needs no init system"

    def __init__(self, state_directory: Path, runner: CommandRunner, stable_after: float = 10.0) -> None:
        store = RecordStore(state_directory, current_boot_id())
        super().__init__(state_directory, store, runner, stable_after)

    @classmethod
    def create(cls, context: DriverContext) -> Self:
        """Build the manager over its own directory of state."""
        return cls(context.state_directory, context.runner)

    def check_available(self) -> None:
        """See the contract. Needs Linux 5.3 for pidfd_open(2) and a short path for its state."""
        check_supervision(self._directory)

    def _mark(self, name: str) -> str:
        return str(self._directory / name)
