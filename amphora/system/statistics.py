# SPDX-License-Identifier: Apache-2.0
"""Counters of the kernel: CPU, memory, load, disk, network (proc_stat(5), proc_meminfo(5), proc_net(5))."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Clock ticks of all CPUs together since boot.

    :ivar total: of every kind, idle included.
    :ivar idle: with what was spent waiting for disks.
    """

    total: int
    idle: int
    user: int
    system: int
    soft_irq: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes since an interface came up."""

    received: int
    sent: int


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """Kilobytes of a file system.

    :ivar available: to an ordinary user.
    """

    used: int
    available: int


def cpu_times() -> CpuTimes:
    """Return the counters of all CPUs."""
    return parse_cpu_times((_PROC / "stat").read_text(encoding="ascii"))


def memory() -> Mapping[str, int]:
    """Return ``/proc/meminfo``: name to kilobytes, or to a plain number if it has no unit."""
    return parse_memory((_PROC / "meminfo").read_text(encoding="ascii"))


def load_averages() -> tuple[float, float, float]:
    """Return the load of the last one, five and fifteen minutes."""
    return os.getloadavg()


def disk_space(path: Path) -> DiskSpace:
    """Return the space on the file system that holds a path."""
    space = os.statvfs(path)
    return DiskSpace(
        (space.f_blocks - space.f_bfree) * space.f_frsize // 1024, space.f_bavail * space.f_frsize // 1024
    )


def traffic() -> Mapping[str, Traffic]:
    """Return the counters of every interface in the network namespace of the calling thread."""
    return parse_traffic((_PROC / "thread-self/net/dev").read_text(encoding="utf-8", errors="replace"))


def parse_cpu_times(text: str) -> CpuTimes:
    """Read ``/proc/stat``; user time holds nice time, and guest time is counted in it by the kernel."""
    fields = [int(field) for field in text.partition("\n")[0].split()[1:]]
    user, nice, system, idle, iowait, _irq, soft_irq = (fields + [0] * 7)[:7]
    return CpuTimes(sum(fields[:8]), idle + iowait, user + nice, system, soft_irq)


def parse_memory(text: str) -> Mapping[str, int]:
    """Read ``/proc/meminfo``; other lines are ignored."""
    values = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        number = value.split()[:1]
        if colon and number and number[0].isascii() and number[0].isdigit():
            values[name] = int(number[0])
    return values


def parse_traffic(text: str) -> Mapping[str, Traffic]:
    """Read ``/proc/net/dev``; other lines are ignored."""
    counters = {}
    for line in text.splitlines():
        name, colon, rest = line.rpartition(":")
        fields = rest.split()
        if colon and len(fields) >= 9 and fields[0].isdecimal() and fields[8].isdecimal():
            counters[name.strip()] = Traffic(int(fields[0]), int(fields[8]))
    return counters
