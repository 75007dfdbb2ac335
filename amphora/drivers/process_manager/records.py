# SPDX-License-Identifier: Apache-2.0
"""What a supervising process manager stores for the agent that comes after it."""

from __future__ import annotations

import abc
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.specs import from_document, to_document
from amphora.errors import ServiceError
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.processes import PROC, ProcessIdentity

_SUFFIX = ".json"


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
