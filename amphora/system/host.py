# SPDX-License-Identifier: Apache-2.0
"""Facts of the operating system and of its users."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
from collections.abc import Iterable
from pathlib import Path


def hostname() -> str:
    """Return the host's name as set now."""
    return socket.gethostname()


def is_root() -> bool:
    """Whether this process may do what only root may."""
    return os.geteuid() == 0


def first_existing_user(names: Iterable[str]) -> tuple[str, str] | None:
    """Return the first of these users that exists, with the name of its primary group, or None."""
    for name in names:
        try:
            entry = pwd.getpwnam(name)
            return name, grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
    return None


def group_exists(name: str) -> bool:
    """Whether there is a group of this name."""
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def cpu_count() -> int:
    """Return the number of the machine's CPUs, also those that this process may not use."""
    return os.cpu_count() or 1


def tuned_profiles(path: Path = Path("/etc/tuned/active_profile")) -> str:
    """Return the active profiles of tuned, at most 1024 characters; empty if it does not run."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:1024].strip()
    except OSError:
        return ""


def rescan_pci_bus(path: Path = Path("/sys/bus/pci/rescan")) -> None:
    """Make the kernel scan for devices that were attached unnoticed; safe to repeat.

    A machine without such a bus, or that does not allow it, is left alone.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"1")
        finally:
            os.close(descriptor)
