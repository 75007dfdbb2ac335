# SPDX-License-Identifier: Apache-2.0
"""Which processes are the keepalived of one LVS listener: the main one, and its child that checks members."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amphora.system import files
from amphora.system.processes import ProcessIdentity, command_line, identify, read_pid_file


@dataclass(frozen=True, slots=True)
class LvsProcesses:
    """Finds the processes through their pid files. Never forks, never waits.

    A pid file outlives a kill and a reboot, and its number then comes to mean somebody else; so only a
    process counts that was given one of our configuration files.

    :ivar pid_file: of the main process.
    :ivar check_pid_file: of its child.
    :ivar others: further pid files that it may have written.
    :ivar configurations: files that keepalived is given by ``-f``, whichever agent has started it.
    """

    pid_file: Path
    check_pid_file: Path
    others: tuple[Path, ...]
    configurations: tuple[Path, ...]

    def main(self) -> ProcessIdentity | None:
        """Return the main process, or None when it does not run."""
        return self._find(self.pid_file)

    def checker(self) -> ProcessIdentity | None:
        """Return the process that tells the kernel which members get traffic, or None."""
        return self._find(self.check_pid_file)

    def checker_began_after(self, moment: float) -> bool:
        """Whether the checker wrote its pid file later than a moment, in seconds since the epoch."""
        try:
            return self.check_pid_file.stat().st_mtime >= moment
        except OSError:
            return False

    def remove_stale_pid_files(self) -> None:
        """Remove pid files that name no process of ours. Safe to repeat.

        keepalived refuses to start while any process has an id in its pid files.

        :raises StorageError: one cannot be removed.
        """
        for path in (self.pid_file, self.check_pid_file, *self.others):
            # One without a number is being written at this moment.
            if read_pid_file(path) is not None and self._find(path) is None:
                files.remove(path)

    def remove_pid_files(self) -> None:
        """Remove all of them, whichever are there. For when nothing runs any more; safe to repeat.

        :raises StorageError: one cannot be removed.
        """
        for path in (self.pid_file, self.check_pid_file, *self.others):
            files.remove(path)

    def _find(self, pid_file: Path) -> ProcessIdentity | None:
        pid = read_pid_file(pid_file)
        identity = None if pid is None else identify(pid)
        if identity is None:
            return None
        arguments = command_line(identity.pid)
        return identity if any(str(path) in arguments for path in self.configurations) else None
