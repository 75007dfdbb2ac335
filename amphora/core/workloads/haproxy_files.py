# SPDX-License-Identifier: Apache-2.0
"""Where the files of an instance are, and what each of them means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import ConfigurationError
from amphora.system import files

_INSTANCE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

#: Longest socket path haproxy can bind: it binds a temporary name beside it first (unix(7): 108 bytes).
_LONGEST_SOCKET_PATH = 97


@dataclass(frozen=True, slots=True)
class InstanceLayout:
    """The files of one instance, below ``base_path/<instance id>/``.

    :ivar instance_id: canonical UUID.
    """

    base_path: Path
    instance_id: str

    @property
    def directory(self) -> Path:
        """Holds everything of this instance but its certificates."""
        return self.base_path / self.instance_id

    @property
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""
        return self.directory / "haproxy.cfg"

    @property
    def local_peer(self) -> Path:
        """Holds the name of this amphora in ``peers`` sections; absent: the host name."""
        return self.directory / "local-peer"

    @property
    def servers_state(self) -> Path:
        """State of servers, saved before each reload; configurations may name it."""
        return self.directory / "servers-state"

    @property
    def running(self) -> Path:
        """What the service is started from: proven, except while a start or reload is under way."""
        return self.directory / "running.cfg"

    @property
    def proven(self) -> Path:
        """The last configuration that was seen to run."""
        return self.directory / "proven.cfg"

    @property
    def overlay(self) -> Path:
        """Our own second configuration file."""
        return self.directory / "agent.cfg"

    @property
    def staged(self) -> Path:
        """A configuration that is being checked."""
        return self.directory / "haproxy.cfg.new"

    @property
    def refused(self) -> Path:
        """The last upload that haproxy refused, for whoever looks into it."""
        return self.directory / "haproxy.cfg.new-failed"

    @property
    def staged_overlay(self) -> Path:
        """The overlay of the staged configuration."""
        return self.directory / "agent.cfg.new"

    @property
    def received(self) -> Path:
        """An upload, byte for byte, while it is being checked."""
        return self.directory / "haproxy.cfg.received"

    @property
    def received_peer(self) -> Path:
        """The name among peers that comes with that upload."""
        return self.directory / "local-peer.received"

    @property
    def to_be_proven(self) -> Path:
        """A copy of the stored configuration while a start or reload of it is under way."""
        return self.directory / "proven.cfg.new"

    @property
    def stored_back(self) -> Path:
        """A copy of the proven configuration meanwhile, to store again without needing room on the disk."""
        return self.directory / "haproxy.cfg.back"

    @property
    def former(self) -> tuple[tuple[Path, Path], ...]:
        """What a start or reload replaces, and second names for it while that is under way.

        Going back by renaming needs no room on the disk.
        """
        return (
            (self.overlay, self.directory / "agent.cfg.former"),
            (self.running, self.directory / "running.cfg.former"),
        )

    @property
    def transient(self) -> tuple[Path, ...]:
        """Everything that is there only while a change is under way."""
        return (
            self.staged,
            self.staged_overlay,
            self.received,
            self.received_peer,
            self.to_be_proven,
            self.stored_back,
            *(kept for _, kept in self.former),
        )

    @property
    def pid_file(self) -> Path:
        """Written by haproxy's master process."""
        return self.directory / f"{self.instance_id}.pid"

    @property
    def stats_socket(self) -> Path:
        """Our stats socket, bound by the worker."""
        return self.directory / "agent.sock"

    @property
    def named_socket(self) -> Path:
        """The stats socket that configurations of Octavia's controllers name."""
        return self.base_path / f"{self.instance_id}.sock"

    def answering_socket(self) -> Path:
        """Return where a running worker answers: a process of another agent has no socket of ours."""
        is_ours = self.stats_socket.exists() or not self.named_socket.exists()
        return self.stats_socket if is_ours else self.named_socket

    @property
    def master_socket(self) -> Path:
        """The master process's own socket."""
        return self.directory / "master.sock"

    @property
    def service_name(self) -> str:
        """Name of the service that runs this instance."""
        return f"haproxy-{self.instance_id}"


class InstanceDirectory:
    """All instances below one base path."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path

    def layout(self, instance_id: str) -> InstanceLayout:
        """Return the layout of an instance, whether it exists or not."""
        return InstanceLayout(self._base_path, instance_id)

    def all(self) -> list[InstanceLayout]:
        """Return the layout of every instance of which anything is stored, sorted by id.

        :raises StorageError: the base path cannot be read.
        """
        names = files.subdirectories(self._base_path)
        return [self.layout(name) for name in names if _INSTANCE_ID.fullmatch(name)]

    def check_path(self) -> None:
        """Return if the kernel can take the paths of sockets below this base path.

        :raises ConfigurationError: it cannot, and by how much the path is too long.
        """
        excess = len(str(self.layout("0" * 36).master_socket)) - _LONGEST_SOCKET_PATH
        if excess > 0:
            raise ConfigurationError(
                f"[haproxy_amphora] base_path: {self._base_path} is {excess} characters too long for the "
                f"paths of haproxy's sockets"
            )

    def prepare(self) -> None:
        """Make the base path and remove from it what interrupted writes left. Called once, at start.

        :raises StorageError: it cannot be made or written.
        """
        files.ensure_directory(self._base_path)
        files.sweep_temporaries(self._base_path)
