# SPDX-License-Identifier: Apache-2.0
"""The files of a workload, and what changes do to them: the same for every program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amphora.system import files


@dataclass(frozen=True)
class WorkloadFiles(ABC):
    """Three files make a change safe: what is stored, what the service runs from, and what was proven.

    The others are there only while a change is under way. Whatever needs room on the disk is written before
    anything live is touched; committing and going back rename.

    :ivar id: of the workload; names its lock and its journal too.
    """

    base_path: Path
    id: str

    #: Of the configurations' names, and permission bits of what is written.
    suffix: ClassVar[str] = ".conf"
    mode: ClassVar[int] = 0o600

    @property
    @abstractmethod
    def directory(self) -> Path:
        """Holds what only the agent knows of it."""

    @property
    @abstractmethod
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""

    @property
    @abstractmethod
    def service_name(self) -> str:
        """Name of the service that runs it."""

    @property
    @abstractmethod
    def pid_file(self) -> Path:
        """Written by the main process."""

    @property
    @abstractmethod
    def argument(self) -> Path:
        """A path in the command line of its process that no other process has there."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """Where a start or reload takes its configuration from: the first of these that exists."""
        return (self.stored,)

    @property
    def exists(self) -> bool:
        """Whether anything of it is there."""
        return self.directory.is_dir()

    @property
    def running(self) -> Path:
        """What the service runs from: proven, except while a start or reload is under way."""
        return self.directory / f"running{self.suffix}"

    @property
    def proven(self) -> Path:
        """The last configuration that was seen to run, as it was uploaded."""
        return self.directory / f"proven{self.suffix}"

    @property
    def overlay(self) -> Path:
        """Our own configuration file beside it."""
        return self.directory / f"agent{self.suffix}"

    @property
    def received(self) -> Path:
        """An upload, byte for byte, while it is being checked."""
        return self.directory / f"{self.stored.name}.received"

    @property
    def staged(self) -> Path:
        """A configuration that is being checked, as it will run."""
        return self.directory / f"{self.stored.name}.new"

    @property
    def staged_overlay(self) -> Path:
        """The overlay that it is checked with."""
        return self.directory / f"agent{self.suffix}.new"

    @property
    def next_overlay(self) -> Path:
        """The overlay that it will run with."""
        return self.directory / f"agent{self.suffix}.next"

    @property
    def to_be_proven(self) -> Path:
        """A copy of the stored configuration while a start or reload of it is under way."""
        return self.directory / f"proven{self.suffix}.new"

    @property
    def stored_back(self) -> Path:
        """A copy of the proven configuration meanwhile, to be stored again by a rollback."""
        return self.directory / f"{self.stored.name}.back"

    @property
    def running_back(self) -> Path:
        """What the service runs from after a rollback."""
        return self.directory / f"running{self.suffix}.former"

    @property
    def overlay_back(self) -> Path:
        """The overlay that belongs to it."""
        return self.directory / f"agent{self.suffix}.back"

    @property
    def transient(self) -> tuple[Path, ...]:
        """Everything that is there only while a change is under way."""
        return (
            self.staged,
            self.staged_overlay,
            self.next_overlay,
            self.received,
            self.to_be_proven,
            self.stored_back,
            self.running_back,
            self.overlay_back,
        )

    def write(self, path: Path, data: bytes) -> None:
        """Write one of these files.

        :raises StorageError: it was not written.
        """
        files.write_atomically(path, data, self.mode)

    def stage(self, data: bytes, overlay: bytes) -> None:
        """Write a configuration as it will run beside the live one, and the overlay to check it with."""
        files.ensure_directory(self.directory)
        self.write(self.staged, data)
        self.write(self.staged_overlay, overlay)

    def receive(self, data: bytes) -> None:
        """Write an upload."""
        if self.received != self.staged:
            self.write(self.received, data)

    def store_received(self, path: Path) -> None:
        """Make what was received the stored configuration, in one instant.

        :param path: one of :attr:`sources`.
        """
        files.rename(self.received, path)

    def stage_commit(self, data: bytes) -> None:
        """Write what committing a configuration and storing the proven one again will need."""
        self.write(self.to_be_proven, data)
        proven = files.read_if_present(self.proven)
        if proven is not None:
            self.write(self.stored_back, proven)

    def swap(self) -> None:
        """Make the staged files those that the service runs from."""
        files.rename(self.next_overlay, self.overlay)
        files.rename(self.staged, self.running)
        files.remove(self.staged_overlay)

    def commit(self) -> None:
        """Record what runs now as what a rollback returns to. Safe to repeat."""
        if self.to_be_proven.exists():
            files.rename(self.to_be_proven, self.proven)
        self.unstage()

    def roll_back(self) -> bool:
        """Let the service run from what it ran from before; return whether that was kept."""
        kept = ((self.overlay_back, self.overlay), (self.running_back, self.running))
        if not all(back.exists() for back, _ in kept):
            return False
        for back, live in kept:
            files.rename(back, live)
        return True

    def unstage(self) -> None:
        """Remove everything that is there only while a change is under way. Safe to repeat."""
        for path in self.transient:
            files.remove(path)

    def discard_upload(self, path: Path) -> str:
        """Remove what is staged, and the directory too if it was made for that; return the state after it.

        :param path: where it would have been stored.
        """
        was_stored = path.exists()
        self.unstage()
        if not was_stored and files.is_empty_directory(self.directory):
            files.remove_tree(self.directory)
        return "The stored configuration is what it was." if was_stored else "Nothing is stored, as before."

    def store_proven(self) -> str:
        """Store the proven configuration again, if there is one; return the state after it."""
        proven = files.read_if_present(self.proven)
        if proven is None:
            return "The uploaded configuration stays stored, as none was ever proven to run."
        if self.stored_back.exists():
            files.rename(self.stored_back, self.stored)
        elif proven != files.read_if_present(self.stored):
            self.write(self.stored, proven)
        return "The last proven configuration is stored again."
