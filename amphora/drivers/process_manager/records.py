# SPDX-License-Identifier: Apache-2.0
"""What a supervising process manager stores for the agent that comes after it."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.processes import PROC, ProcessIdentity


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """The stored state of one service.

    :ivar wanted: it was started and not stopped since.
    :ivar process: its main process when last seen; None before it was started, and between the
        decision to start it and the birth of its process.
    """

    spec: ServiceSpec
    wanted: bool = False
    process: ProcessIdentity | None = None


class ServiceStore(abc.ABC):
    """Where a supervising process manager keeps its records, durably.

    Calls for different services may come from several threads at once.
    """

    @abc.abstractmethod
    def sweep(self) -> None:
        """Remove what interrupted writes left. Called while nothing is written.

        :raises ServiceError: something cannot be removed.
        """

    @abc.abstractmethod
    def names(self) -> list[str]:
        """Return the names of all services with a record, sorted.

        :raises ServiceError: they cannot be found out.
        """

    @abc.abstractmethod
    def load(self, name: str) -> ServiceRecord | None:
        """Return the record of a service, or None when there is none.

        :raises ServiceError: it is there but cannot be read.
        """

    @abc.abstractmethod
    def save(self, record: ServiceRecord) -> None:
        """Store a record in place of the former one.

        :raises ServiceError: the former one is still there.
        """

    @abc.abstractmethod
    def delete(self, name: str) -> None:
        """Remove the record of a service; safe to repeat.

        :raises ServiceError: it is still there.
        """


def current_boot_id() -> str:
    """Return the id of this boot of the machine (random(4))."""
    return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@as_service_error()
def noted_process(path: Path, boot_id: str) -> ProcessIdentity | None:
    """Return the main process that a script has noted in this boot: its id, start time and boot.

    :raises ServiceError: the file is there but cannot be read.
    """
    words = (files.read_if_present(path) or b"").decode("ascii", "replace").split()
    if len(words) < 3 or words[2] != boot_id or not all(word.isdecimal() for word in words[:2]):
        return None
    return ProcessIdentity(int(words[0]), int(words[1]))
