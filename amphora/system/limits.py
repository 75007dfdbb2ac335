# SPDX-License-Identifier: Apache-2.0
"""How many files a process may open (getrlimit(2), capabilities(7), proc_sys_fs(5)). Nothing here forks."""

from __future__ import annotations

from pathlib import Path

from amphora.system.processes import PROC

_CAP_SYS_RESOURCE = 24
#: What the kernel allows by default (include/linux/fs.h).
_DEFAULT_NR_OPEN = 1024 * 1024


def descriptor_limit(pid: int | None = None, proc: Path = PROC) -> int | None:
    """Return the highest number of files that a process can allow itself; None if unknown.

    That is its hard limit, or the kernel's own ceiling where it has the privilege to raise limits.

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
