# SPDX-License-Identifier: Apache-2.0
"""A process manager that runs services itself: for containers, development machines and tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from amphora.drivers.base import DriverContext
from amphora.drivers.process_manager.records import ServiceRecord, ServiceStore, current_boot_id
from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.specs import from_document, to_document
from amphora.drivers.process_manager.supervising import SupervisingProcessManager, check_supervision
from amphora.errors import ServiceError
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity

_SUFFIX = ".json"


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


class RecordStore(ServiceStore):
    """One JSON document per service in a directory of mode 0700.

    A process id and its start time, counted from boot, identify a process within one boot only:
    services started early get the same pair again. So each document names its boot, and a process
    of another boot is forgotten when it is read.

    :param boot_id: of the running kernel, ``/proc/sys/kernel/random/boot_id``.
    """

    def __init__(self, directory: Path, boot_id: str) -> None:
        self._directory = directory
        self._boot_id = boot_id

    @as_service_error()
    def sweep(self) -> None:
        """See the base class."""
        files.sweep_temporaries(self._directory)

    @as_service_error()
    def names(self) -> list[str]:
        """See the base class."""
        found = files.file_names(self._directory)
        return [name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)]

    @as_service_error()
    def load(self, name: str) -> ServiceRecord | None:
        """See the base class."""
        data = files.read_if_present(self._path(name))
        try:
            return None if data is None else self._decode(json.loads(data))
        except (ValueError, KeyError, TypeError) as error:
            raise ServiceError(f"the state of service {name} in {self._path(name)} is damaged") from error

    @as_service_error()
    def save(self, record: ServiceRecord) -> None:
        """See the base class."""
        document = {
            "spec": to_document(record.spec),
            "wanted": record.wanted,
            "boot_id": self._boot_id,
            "process": None if record.process is None else [record.process.pid, record.process.start_ticks],
        }
        files.ensure_directory(self._directory, 0o700)
        files.write_atomically(self._path(record.spec.name), json.dumps(document, indent=1).encode())

    @as_service_error()
    def delete(self, name: str) -> None:
        """See the base class."""
        files.remove(self._path(name))

    def _decode(self, document: dict[str, Any]) -> ServiceRecord:
        process = document["process"]
        trusted = process is not None and document["boot_id"] == self._boot_id
        return ServiceRecord(
            spec=from_document(document["spec"]),
            wanted=bool(document["wanted"]),
            process=ProcessIdentity(int(process[0]), int(process[1])) if trusted else None,
        )

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"
