# SPDX-License-Identifier: Apache-2.0
"""The processes of a keepalived that we run, found through their pid files. Never forks, never waits.

A pid file outlives a kill and a reboot, and its number may then be another process's. So only a
process counts that was given one of our configuration files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from amphora.system import files
from amphora.system.processes import ProcessIdentity, children_of, command_line, identify, read_pid_file


@dataclass(frozen=True, slots=True)
class KeepalivedProcesses:
    """The keepalived for VRRP.

    :ivar pid_file: of the main process.
    :ivar vrrp_pid_file: of its child.
    :ivar configuration: the file that keepalived is given by ``-f``.
    :ivar of_others: the file that one is given instead which another agent has started. It writes no
        other pid file here than that of its main process.
    """

    pid_file: Path
    vrrp_pid_file: Path
    configuration: Path
    of_others: Path

    def main(self) -> ProcessIdentity | None:
        """Return the main process, or None when it does not run."""
        return self._find(self.pid_file)

    def foreign(self) -> ProcessIdentity | None:
        """Return the main process if another agent has started it, otherwise None."""
        main = self.main()
        return main if main and str(self.configuration) not in command_line(main.pid) else None

    def vrrp(self) -> ProcessIdentity | None:
        """Return the process that holds the virtual addresses, or None when it does not run."""
        foreign = self.foreign()
        if foreign is None:
            return self._find(self.vrrp_pid_file)
        # It has no other: the one for LVS is a keepalived of its own.
        return next((identify(child) for child in children_of(foreign.pid)), None)

    def remove_stale_pid_files(self) -> None:
        """Remove pid files that name no process of ours; keepalived would refuse to start. Safe to repeat.

        :raises StorageError: one cannot be removed.
        """
        _remove_stale((self.pid_file, self.vrrp_pid_file), (self.configuration, self.of_others))

    def _find(self, pid_file: Path) -> ProcessIdentity | None:
        return _find(pid_file, (self.configuration, self.of_others))


@dataclass(frozen=True, slots=True)
class LvsProcesses:
    """The keepalived of one LVS listener.

    :ivar pid_file: of the main process.
    :ivar check_pid_file: of its child, which checks members.
    :ivar others: further pid files that it may have written.
    :ivar configurations: files that keepalived is given by ``-f``, whichever agent has started it.
    """

    pid_file: Path
    check_pid_file: Path
    others: tuple[Path, ...]
    configurations: tuple[Path, ...]

    def main(self) -> ProcessIdentity | None:
        """Return the main process, or None when it does not run."""
        return _find(self.pid_file, self.configurations)

    def checker(self) -> ProcessIdentity | None:
        """Return the process that sets up members in the kernel, or None."""
        return _find(self.check_pid_file, self.configurations)

    def checker_began_after(self, moment: float) -> bool:
        """Whether the checker wrote its pid file later than a moment, in seconds since the epoch."""
        try:
            return self.check_pid_file.stat().st_mtime >= moment
        except OSError:
            return False

    def remove_stale_pid_files(self) -> None:
        """Remove pid files that name no process of ours; keepalived would refuse to start. Safe to repeat.

        :raises StorageError: one cannot be removed.
        """
        _remove_stale((self.pid_file, self.check_pid_file, *self.others), self.configurations)

    def remove_pid_files(self) -> None:
        """Remove all of them, once nothing runs any more. Safe to repeat.

        :raises StorageError: one cannot be removed.
        """
        for path in (self.pid_file, self.check_pid_file, *self.others):
            files.remove(path)


def _find(pid_file: Path, configurations: Iterable[Path]) -> ProcessIdentity | None:
    pid = read_pid_file(pid_file)
    identity = None if pid is None else identify(pid)
    known = {str(path) for path in configurations}
    return identity if identity and known.intersection(command_line(identity.pid)) else None


def _remove_stale(pid_files: Iterable[Path], configurations: Iterable[Path]) -> None:
    # keepalived refuses to start while any process has an id in its pid files: a zombie that was not
    # reaped yet, or after a reboot another process. One without a number is being written at this moment.
    for path in pid_files:
        if read_pid_file(path) is not None and _find(path, configurations) is None:
            files.remove(path)
