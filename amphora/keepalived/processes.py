# SPDX-License-Identifier: Apache-2.0
"""Which processes are the keepalived that we run: the main one, and its child that speaks VRRP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from amphora.system import files
from amphora.system.processes import ProcessIdentity, children_of, command_line, identify, read_pid_file


@dataclass(frozen=True, slots=True)
class KeepalivedProcesses:
    """Finds the processes through their pid files. Never forks, never waits.

    A pid file outlives a kill and a reboot, and its number then comes to mean somebody else; so only a
    process counts that was given our configuration file.

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
        # It has no other: the one for LVS runs for itself.
        return next((identify(child) for child in children_of(foreign.pid)), None)

    def remove_stale_pid_files(self) -> None:
        """Remove pid files that name no process of ours. Safe to repeat.

        keepalived refuses to start while any process has an id in its pid files: a zombie that nobody
        has reaped yet, or after a reboot somebody else.

        :raises StorageError: one cannot be removed.
        """
        for path in (self.pid_file, self.vrrp_pid_file):
            # One without a number is being written at this moment.
            if read_pid_file(path) is not None and self._find(path) is None:
                files.remove(path)

    def _find(self, pid_file: Path) -> ProcessIdentity | None:
        pid = read_pid_file(pid_file)
        identity = None if pid is None else identify(pid)
        known = {str(self.configuration), str(self.of_others)}
        return identity if identity and known.intersection(command_line(identity.pid)) else None
