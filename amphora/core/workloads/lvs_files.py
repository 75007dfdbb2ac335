# SPDX-License-Identifier: Apache-2.0
"""Where the files of LVS listeners are, and what each of them means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amphora.core.workloads.files import WorkloadFiles
from amphora.keepalived.processes import LvsProcesses
from amphora.keepalived.program import PidFiles
from amphora.system import files

_ID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_STORED = re.compile(rf"octavia-keepalivedlvs-{_ID}\.conf")
_DIRECTORY = re.compile(_ID)


@dataclass(frozen=True)
class LvsFiles(WorkloadFiles):
    """The files of one LVS listener, below ``base_path/lvs/``.

    Those that other programs of the image know stand directly there; ours are in a directory below.
    """

    mode: ClassVar[int] = 0o644

    @property
    def shared_directory(self) -> Path:
        """Holds what belongs to all LVS listeners."""
        return self.base_path / "lvs"

    @property
    def directory(self) -> Path:
        """Holds what only this agent knows of this listener."""
        return self.shared_directory / self.id

    @property
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""
        return self.shared_directory / f"{self.service_name}.conf"

    @property
    def staged(self) -> Path:
        """A configuration that is being checked; it runs as it was uploaded."""
        return self.directory / "staged.conf"

    @property
    def received(self) -> Path:
        """An upload while it is being checked."""
        return self.staged

    @property
    def running_back(self) -> Path:
        """What the service runs from after a rollback."""
        return self.directory / "running.conf.back"

    @property
    def stored_back(self) -> Path:
        """A copy of the proven configuration, to be stored again by a rollback."""
        return self.directory / "stored.conf.back"

    @property
    def exists(self) -> bool:
        """Whether anything of the listener is there."""
        return self.stored.exists() or self.directory.is_dir()

    @property
    def udp_check(self) -> Path:
        """The script by which UDP members are checked; configurations name it."""
        return self.shared_directory / "check" / "udp_check.sh"

    @property
    def pid_file(self) -> Path:
        """Written by keepalived's main process."""
        return self.shared_directory / f"{self.service_name}.pid"

    @property
    def argument(self) -> Path:
        """A path in the command line of its process that no other process has there."""
        return self.pid_file

    @property
    def pid_files(self) -> PidFiles:
        """All that keepalived writes."""
        vrrp, check = (
            self.shared_directory / f"{self.service_name}.{which}.pid" for which in ("vrrp", "check")
        )
        return PidFiles(self.pid_file, vrrp, check)

    @property
    def processes(self) -> LvsProcesses:
        """The processes that run this listener."""
        pid_files = self.pid_files
        # Agents that were here before have given their keepalived the running file or the stored one.
        configurations = (self.overlay, self.running, self.stored)
        return LvsProcesses(pid_files.main, pid_files.check, (pid_files.vrrp,), configurations)

    @property
    def service_name(self) -> str:
        """Name of the service that runs this listener."""
        return f"octavia-keepalivedlvs-{self.id}"


class LvsDirectory:
    """All LVS listeners below one base path."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path

    @property
    def path(self) -> Path:
        """Holds the files of all of them."""
        return self._base_path / "lvs"

    def files(self, listener_id: str) -> LvsFiles:
        """Return the files of a listener, whether it exists or not."""
        return LvsFiles(self._base_path, listener_id)

    def all(self) -> list[LvsFiles]:
        """Return the files of every listener with a stored configuration, sorted by id.

        :raises StorageError: the directory cannot be read.
        """
        names = (_STORED.fullmatch(name) for name in files.file_names(self.path))
        return [self.files(match[1]) for match in names if match]

    def remnants(self) -> list[LvsFiles]:
        """Return the files of every listener of which something is left, but no stored configuration.

        :raises StorageError: the directory cannot be read.
        """
        names = (name for name in files.subdirectories(self.path) if _DIRECTORY.fullmatch(name))
        return [found for found in map(self.files, names) if not found.stored.exists()]
