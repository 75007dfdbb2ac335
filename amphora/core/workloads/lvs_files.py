# SPDX-License-Identifier: Apache-2.0
"""Where the files of an LVS listener are, and what each of them means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from amphora.keepalived.processes import LvsProcesses
from amphora.lvs.program import PidFiles
from amphora.system import files

_ID = r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
_STORED = re.compile(rf"octavia-keepalivedlvs-{_ID}\.conf")
_DIRECTORY = re.compile(_ID)


@dataclass(frozen=True, slots=True)
class LvsLayout:
    """The files of one LVS listener, below ``base_path/lvs/``.

    Those that other programs of the image know stand directly there; ours are in a directory below.

    :ivar listener_id: canonical UUID.
    """

    base_path: Path
    listener_id: str

    @property
    def shared_directory(self) -> Path:
        """Holds what belongs to all LVS listeners."""
        return self.base_path / "lvs"

    @property
    def directory(self) -> Path:
        """Holds what only this agent knows of this listener."""
        return self.shared_directory / self.listener_id

    @property
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""
        return self.shared_directory / f"{self.service_name}.conf"

    @property
    def staged(self) -> Path:
        """A configuration that is being checked."""
        return self.directory / "staged.conf"

    @property
    def overlay(self) -> Path:
        """Our own configuration file, which includes the running one and is given to keepalived."""
        return self.directory / "agent.conf"

    @property
    def staged_overlay(self) -> Path:
        """The overlay of the staged configuration."""
        return self.directory / "agent.conf.new"

    @property
    def running(self) -> Path:
        """What the overlay includes: proven, except while a start or reload is under way."""
        return self.directory / "running.conf"

    @property
    def proven(self) -> Path:
        """The last configuration that was seen to run."""
        return self.directory / "proven.conf"

    @property
    def to_be_proven(self) -> Path:
        """A copy of the stored configuration while a start or reload of it is under way."""
        return self.directory / "proven.conf.new"

    @property
    def running_back(self) -> Path:
        """A copy of the proven configuration meanwhile, to run again without needing room on the disk."""
        return self.directory / "running.conf.back"

    @property
    def stored_back(self) -> Path:
        """Likewise, to store again."""
        return self.directory / "stored.conf.back"

    @property
    def transient(self) -> tuple[Path, ...]:
        """Everything that is there only while a change is under way."""
        return self.staged, self.staged_overlay, self.to_be_proven, self.running_back, self.stored_back

    @property
    def exists(self) -> bool:
        """Whether anything of the listener is there."""
        return self.stored.exists() or self.directory.is_dir()

    @property
    def udp_check(self) -> Path:
        """The script by which UDP members are checked; configurations name it."""
        return self.shared_directory / "check" / "udp_check.sh"

    @property
    def pid_files(self) -> PidFiles:
        """Written by keepalived."""
        main, vrrp, check = (
            self.shared_directory / f"{self.service_name}{which}.pid" for which in ("", ".vrrp", ".check")
        )
        return PidFiles(main, vrrp, check)

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
        return f"octavia-keepalivedlvs-{self.listener_id}"


class LvsDirectory:
    """All LVS listeners below one base path."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path

    @property
    def path(self) -> Path:
        """Holds the files of all of them."""
        return self._base_path / "lvs"

    def layout(self, listener_id: str) -> LvsLayout:
        """Return the layout of a listener, whether it exists or not."""
        return LvsLayout(self._base_path, listener_id)

    def all(self) -> list[LvsLayout]:
        """Return the layout of every listener with a stored configuration, sorted by id.

        :raises StorageError: the directory cannot be read.
        """
        names = (_STORED.fullmatch(name) for name in files.file_names(self.path))
        return [self.layout(match[1]) for match in names if match]

    def remnants(self) -> list[LvsLayout]:
        """Return the layout of every listener of which something is left, but no stored configuration.

        :raises StorageError: the directory cannot be read.
        """
        layouts = (
            self.layout(name) for name in files.subdirectories(self.path) if _DIRECTORY.fullmatch(name)
        )
        return [layout for layout in layouts if not layout.stored.exists()]
