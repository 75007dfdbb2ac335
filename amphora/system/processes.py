# SPDX-License-Identifier: Apache-2.0
"""Running processes as /proc shows them (proc(5)). Nothing here forks or waits, and one function signals."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PROC = Path("/proc")

_FIELDS_AFTER_NAME = 20
_STATE, _PARENT, _START = 0, 1, 19


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that cannot be mistaken for a later one with the same id.

    :ivar start_ticks: clock ticks after boot at which it started (field 22 of ``/proc/PID/stat``).
    """

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """Whether this very process exists and is no zombie."""
        return identify(self.pid) == self

    def started_at(self) -> datetime:
        """Return when it started, in UTC, to about a hundredth of a second."""
        return datetime.fromtimestamp(_boot_time() + self.start_ticks / os.sysconf("SC_CLK_TCK"), UTC)


def identify(pid: int) -> ProcessIdentity | None:
    """Return the identity of a live process, or None if there is none or only a zombie."""
    fields = _stat_fields(pid)
    if fields is None or fields[_STATE] in ("Z", "X"):
        return None
    return ProcessIdentity(pid, int(fields[_START]))


def parent_of(pid: int) -> int | None:
    """Return the parent's process id, or None when there is no such process."""
    fields = _stat_fields(pid)
    return None if fields is None else int(fields[_PARENT])


def children_of(pid: int) -> list[int]:
    """Return the ids of the live child processes, sorted."""
    return [child for child in process_ids() if parent_of(child) == pid]


def process_ids() -> list[int]:
    """Return the ids of all processes, sorted."""
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())


def command_line(pid: int) -> tuple[str, ...]:
    """Return the argv of a process; empty when it has ended or is a kernel thread."""
    try:
        raw = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(part.decode("utf-8", "replace") for part in raw.rstrip(b"\0").split(b"\0")) if raw else ()


def bytes_read(pid: int) -> int | None:
    """Return how many bytes a process has read so far, from files and all else (``rchar``, proc(5)).

    None when there is no such process, or the kernel does not count.
    """
    try:
        counters = (PROC / str(pid) / "io").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) for line in counters if line.startswith("rchar:")), None)


def read_pid_file(path: Path) -> int | None:
    """Return the process id on the first line of a pid file, or None when there is no usable one."""
    try:
        first_line = path.read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
    except OSError:
        return None
    return int(first_line) if first_line.isdigit() and int(first_line) > 0 else None


def terminate(process: ProcessIdentity) -> bool:
    """Send SIGTERM to this very process and return whether it was still there.

    :raises PermissionError: it belongs to another user.
    """
    if not process.is_alive():
        return False
    try:
        os.kill(process.pid, signal.SIGTERM)
    except ProcessLookupError:
        return False
    return True


def _stat_fields(pid: int) -> list[str] | None:
    try:
        stat = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name is in parentheses and may itself hold blanks and parentheses.
    fields = stat.rpartition(")")[2].split()
    return fields if len(fields) >= _FIELDS_AFTER_NAME else None


def _boot_time() -> int:
    for line in (PROC / "stat").read_text(encoding="ascii").splitlines():
        if line.startswith("btime "):
            return int(line.split()[1])
    return 0
