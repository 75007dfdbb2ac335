# SPDX-License-Identifier: Apache-2.0
"""Running processes as /proc shows them, and what they may use (proc(5)). Nothing here forks or waits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PROC = Path("/proc")

_FIELDS_AFTER_NAME = 20
_STATE, _PARENT, _START = 0, 1, 19
#: M_ARENA_MAX of malloc.h.
_ARENA_MAX = -8

_CAP_SYS_RESOURCE = 24
#: What the kernel allows by default (include/linux/fs.h).
_DEFAULT_NR_OPEN = 1024 * 1024


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


def descriptor_limit(pid: int | None = None, proc: Path = PROC) -> int | None:
    """Return the highest number of files that a process can allow itself; None if unknown.

    That is its hard limit, or the kernel's own ceiling if it has the privilege to raise limits.

    :param pid: None for the calling process.
    """
    directory = proc / ("self" if pid is None else str(pid))
    try:
        hard = parse_hard_limit((directory / "limits").read_text(encoding="ascii", errors="replace"))
        status = (directory / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if has_capability(status, _CAP_SYS_RESOURCE):
        return kernel_ceiling(proc)
    return kernel_ceiling(proc) if hard == 0 else hard


def open_files_left(proc: Path = PROC) -> int | None:
    """Return how many more files the whole machine may open; None if unknown."""
    try:
        fields = (proc / "sys/fs/file-nr").read_text(encoding="ascii").split()
        return int(fields[2]) - int(fields[0])
    except (OSError, ValueError, IndexError):
        return None


def parse_hard_limit(text: str) -> int | None:
    """Read ``/proc/PID/limits``; return the hard limit of open files, 0 for none, None if it is not there."""
    for line in text.splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4:5]
            if hard == ["unlimited"]:
                return 0
            return int(hard[0]) if hard and hard[0].isdigit() else None
    return None


def has_capability(status: str, number: int) -> bool:
    """Whether ``/proc/PID/status`` lists an effective capability."""
    for line in status.splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            try:
                return bool(int(value, 16) >> number & 1)
            except ValueError:
                return False
    return False


def kernel_ceiling(proc: Path = PROC) -> int:
    """Return the number of open files that no process can have more of."""
    try:
        return int((proc / "sys/fs/nr_open").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _DEFAULT_NR_OPEN


@dataclass(frozen=True, slots=True)
class OwnProcess:
    """The calling process at one moment.

    :ivar started_at: seconds since the epoch.
    :ivar cpu_seconds: processor time since then, of all threads.
    :ivar resident: bytes in memory, shared ones included.
    :ivar open_files: descriptors.
    :ivar most_files: that it may have open.
    :ivar threads: of Python.
    """

    started_at: float
    cpu_seconds: float
    resident: int
    open_files: int
    most_files: int
    threads: int


def own_process() -> OwnProcess:
    """Return what the calling process takes now."""
    me = identify(os.getpid())
    pages = int((PROC / "self/statm").read_text(encoding="ascii").split()[1])
    return OwnProcess(
        started_at=me.started_at().timestamp() if me else 0.0,
        cpu_seconds=time.process_time(),
        resident=pages * resource.getpagesize(),
        # One of them is that of the directory itself while it is read.
        open_files=len(os.listdir(PROC / "self/fd")) - 1,
        most_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        threads=threading.active_count(),
    )


def share_one_arena() -> None:
    """Let all threads take memory from one arena (mallopt(3)). Called first, before there are threads.

    Else each thread takes it from one of up to eight for each CPU, and what it has freed there serves no
    other thread: 71 MiB instead of 63 MiB after 6000 requests. Only the GNU C library has such arenas.
    """
    libc = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        libc.mallopt(_ARENA_MAX, 1)
