# SPDX-License-Identifier: Apache-2.0
"""Where the files of haproxy instances are, and what each of them means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from amphora.core.workloads.files import WorkloadFiles
from amphora.errors import ConfigurationError, InvalidConfiguration
from amphora.haproxy.reading.configuration import parse
from amphora.system import files

_INSTANCE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_CERTIFICATES = "-certificates"

#: Longest socket path haproxy can bind: it binds a temporary name beside it first (unix(7): 108 bytes).
_LONGEST_SOCKET_PATH = 97


def certificates_target(instance_id: str) -> str:
    """Return what changes to an instance's certificates are journalled under."""
    return f"{instance_id}{_CERTIFICATES}"


def certificates_of(target: str) -> str | None:
    """Return the instance whose certificates are journalled under a target; None: it is no such target."""
    return target.removesuffix(_CERTIFICATES) if target.endswith(_CERTIFICATES) else None


@dataclass(frozen=True)
class HaproxyFiles(WorkloadFiles):
    """The files of one instance, below ``base_path/<instance id>/``, but for its certificates."""

    suffix: ClassVar[str] = ".cfg"

    @property
    def directory(self) -> Path:
        """Holds everything of this instance but its certificates."""
        return self.base_path / self.id

    @property
    def stored(self) -> Path:
        """The configuration as uploaded, byte for byte; it takes effect with the next start or reload."""
        return self.directory / "haproxy.cfg"

    @property
    def next_overlay(self) -> Path:
        """The overlay that it will run with: the one that it is checked with."""
        return self.staged_overlay

    @property
    def overlay_back(self) -> Path:
        """The overlay that the service ran with before."""
        return self.directory / "agent.cfg.former"

    @property
    def local_peer(self) -> Path:
        """Holds the name of this amphora in ``peers`` sections; absent: the host name."""
        return self.directory / "local-peer"

    @property
    def received_peer(self) -> Path:
        """The name among peers that comes with an upload."""
        return self.directory / "local-peer.received"

    @property
    def transient(self) -> tuple[Path, ...]:
        """Everything that is there only while a change is under way."""
        return *super().transient, self.received_peer

    @property
    def refused(self) -> Path:
        """The last upload that haproxy refused, for diagnosis."""
        return self.directory / "haproxy.cfg.new-failed"

    @property
    def servers_state(self) -> Path:
        """State of servers, saved before each reload; configurations may name it."""
        return self.directory / "servers-state"

    @property
    def pid_file(self) -> Path:
        """Written by haproxy's master process."""
        return self.directory / f"{self.id}.pid"

    @property
    def argument(self) -> Path:
        """A path in the command line of its process that no other process has there."""
        return self.running

    @property
    def stats_socket(self) -> Path:
        """Our stats socket, bound by the worker."""
        return self.directory / "agent.sock"

    @property
    def named_socket(self) -> Path:
        """The stats socket that configurations of Octavia's controllers name."""
        return self.base_path / f"{self.id}.sock"

    @property
    def master_socket(self) -> Path:
        """The master process's own socket."""
        return self.directory / "master.sock"

    @property
    def service_name(self) -> str:
        """Name of the service that runs this instance."""
        return f"haproxy-{self.id}"

    def answering_socket(self) -> Path:
        """Return where a running worker answers: a process of another agent has no socket of ours."""
        is_ours = self.stats_socket.exists() or not self.named_socket.exists()
        return self.stats_socket if is_ours else self.named_socket

    def leave_a_trace(self) -> bool:
        """Whether anything of an instance is there: configuration, pid file or socket."""
        return any(path.exists() for path in (self.stored, self.pid_file, self.stats_socket))

    def peer(self) -> str:
        """Return the name of this amphora in ``peers`` sections as it is stored; empty: its host name."""
        return (files.read_if_present(self.local_peer) or b"").decode()

    def store_received(self, path: Path) -> None:
        """Make what was received the stored configuration. Safe to repeat.

        The name among peers first: haproxy looks for it only at the next start or reload.
        """
        peer = files.read_if_present(self.received_peer)
        if peer:
            files.rename(self.received_peer, self.local_peer)
        elif peer is not None:
            files.remove(self.local_peer)
            files.remove(self.received_peer)
        if self.received.exists():
            files.rename(self.received, path)

    def remove_named_sockets(self) -> None:
        """Remove the sockets that the stored configuration names beside the instance's directory.

        haproxy leaves them behind. Anything outside the base path is not ours to remove.
        """
        try:
            binds = parse(files.read_if_present(self.stored) or b"").stats_sockets
        except InvalidConfiguration:
            return
        named = [Path(endpoint.path) for bind in binds for endpoint in bind.endpoints if endpoint.path]
        # The usual one is there too where the configuration that named it is not.
        for path in (self.named_socket, *named):
            if path.is_relative_to(self.base_path) and ".." not in path.parts and path.is_socket():
                files.remove(path)

    def stage_roll_back(self) -> None:
        """Keep what is live under second names, which take no room on the disk and keep its age."""
        files.link(self.overlay, self.overlay_back)
        files.link(self.running, self.running_back)


class HaproxyDirectory:
    """All instances below one base path."""

    def __init__(self, base_path: Path) -> None:
        self._base_path = base_path

    def files(self, instance_id: str) -> HaproxyFiles:
        """Return the files of an instance, whether it exists or not."""
        return HaproxyFiles(self._base_path, instance_id)

    def all(self) -> list[HaproxyFiles]:
        """Return the files of every instance of which anything is stored, sorted by id.

        :raises StorageError: the base path cannot be read.
        """
        names = files.subdirectories(self._base_path)
        return [self.files(name) for name in names if _INSTANCE_ID.fullmatch(name)]

    def check_path(self) -> None:
        """Return if the kernel can take the paths of sockets below this base path.

        :raises ConfigurationError: it cannot, and by how much the path is too long.
        """
        excess = len(str(self.files("0" * 36).master_socket)) - _LONGEST_SOCKET_PATH
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
