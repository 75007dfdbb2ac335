# SPDX-License-Identifier: Apache-2.0
"""Memory that processes take, and what is left of it (proc_pid_smaps(5), proc_meminfo(5), cgroups(7)).

Nothing here forks or waits. All amounts are bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.system.processes import PROC
from amphora.system.statistics import parse_memory

CGROUPS = Path("/sys/fs/cgroup")

_KIB = 1024
#: Both versions of control groups write "no limit" as a word or as a number beyond any machine.
_UNLIMITED = 1 << 60


@dataclass(frozen=True, slots=True)
class MemoryHeadroom:
    """What can still be allocated before the kernel kills a process.

    :ivar limit: what sets it, for messages: ``the machine`` or ``control group /system.slice/x``.
    """

    available: int
    limit: str


def process_memory(pid: int) -> int | None:
    """Return the proportional set size of a process, or its resident size if the kernel gives no more.

    None when there is no such process.
    """
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            text = (PROC / str(pid) / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            words = line.split()
            if len(words) > 1 and words[0] == field and words[1].isdigit():
                return int(words[1]) * _KIB
    return None


def headroom(pid: int | None = None, proc: Path = PROC, cgroups: Path = CGROUPS) -> MemoryHeadroom:
    """Return the memory left to a process: the least of the machine's and of its control groups'.

    :param pid: None for the calling process.
    """
    machine = MemoryHeadroom(_machine_available(proc), "the machine")
    return min((machine, *_groups(pid, proc, cgroups)), key=lambda room: room.available)


def parse_cgroups(text: str) -> tuple[str | None, str | None]:
    """Read ``/proc/PID/cgroup``; return the group's path in version 2 and in version 1's memory hierarchy."""
    unified = legacy = None
    for line in text.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if not colon or not path.startswith("/"):
            continue
        if hierarchy == "0" and not controllers:
            unified = path
        elif "memory" in controllers.split(","):
            legacy = path
    return unified, legacy


def _machine_available(proc: Path) -> int:
    values = parse_memory((proc / "meminfo").read_text(encoding="ascii"))
    return values.get("MemAvailable", values.get("MemFree", 0)) * _KIB


def _groups(pid: int | None, proc: Path, cgroups: Path) -> Iterator[MemoryHeadroom]:
    try:
        text = (proc / ("self" if pid is None else str(pid)) / "cgroup").read_text(encoding="utf-8")
    except OSError:
        return
    unified, legacy = parse_cgroups(text)
    if unified is not None:
        yield from _chain(cgroups, unified, "memory.max", "memory.current", "inactive_file")
    if legacy is not None:
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        yield from _chain(cgroups / "memory", legacy, *names)


def _chain(root: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[MemoryHeadroom]:
    """Yield what each group from this one up to the root leaves; a limit of any of them counts."""
    # Seen from inside a container the path may lead out of what is mounted here.
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts), -1, -1):
        group = "/".join(parts[:depth])
        directory = root / group
        most, used = _number(directory / limit), _number(directory / usage)
        if most is None or used is None or most >= _UNLIMITED:
            continue
        # Pages of files unused for a while are dropped before any process is killed.
        spare = _statistic(directory / "memory.stat", reclaimable)
        yield MemoryHeadroom(max(0, most - used + spare), f"control group /{group}")


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdigit() else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    pairs = (line.partition(" ") for line in lines)
    return next((int(value) for key, _, value in pairs if key == name and value.isdigit()), 0)
