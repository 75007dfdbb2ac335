# SPDX-License-Identifier: Apache-2.0
"""Which file system a path lives on (proc_pid_mountinfo(5)), and whether what it holds stays in memory."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from amphora.errors import StorageError
from amphora.system import files

_MOUNTINFO = Path("/proc/self/mountinfo")
_SYSFS = Path("/sys")
_ESCAPE = re.compile(r"\\([0-7]{3})")

_MEMORY_FILE_SYSTEMS = ("tmpfs", "ramfs")
#: Kernel names of the block devices of the drivers brd and zram.
_RAM_DEVICE = re.compile(r"z?ram\d+")


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    :ivar kind: its type: ``tmpfs``, ``ext4``…
    :ivar device: ``major:minor`` of its block device; the major is 0 if it has none, or several.
    """

    kind: str
    device: str


def mount_of(path: Path, mountinfo: Path = _MOUNTINFO) -> Mount:
    """Return the mount that holds ``path``.

    The path itself need not exist: its nearest existing parent decides. Symbolic links are followed.

    :raises StorageError: the mount table cannot be read, or holds no such mount.
    """
    try:
        resolved = path.resolve()
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise StorageError(f"the mount table cannot be read: {error.strerror}") from error
    best, found = -1, None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        mount_point = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4]))
        # A later mount on the same point hides the earlier one, hence >=.
        if resolved.is_relative_to(mount_point) and len(mount_point.parts) >= best:
            best, found = len(mount_point.parts), Mount(after.split()[0], fields[2])
    if found is None:
        raise StorageError(f"{path} is on no file system of the mount table")
    return found


def outside_memory(path: Path, mountinfo: Path = _MOUNTINFO, sysfs: Path = _SYSFS) -> str | None:
    """Return what keeps the files at ``path`` elsewhere than in memory, None if nothing does.

    In memory are tmpfs, ramfs, and a file system on a block device that ends in memory: brd (``ram0``),
    a zram that writes nothing back to a disk, device mapper on such (``slaves`` in sysfs), a partition of
    such, or a loop device whose file lies in memory. Everything unknown counts as a disk.

    :returns: the way down to it, as ``ext4 on dm-0 (certs) on vda1 on vda``.
    :raises StorageError: the mount table or sysfs cannot be read.
    """
    mount = mount_of(path, mountinfo)
    if mount.kind in _MEMORY_FILE_SYSTEMS:
        return None
    return _on(mount.kind, _device_outside_memory(mount.device, mountinfo, sysfs))


def _device_outside_memory(number: str, mountinfo: Path, sysfs: Path) -> str | None:
    try:
        device = (sysfs / "dev/block" / number).resolve(strict=True)
        if (device / "partition").exists():
            # Only the whole device has attributes.
            return _on(device.name, _device_outside_memory(_number(device.parent), mountinfo, sysfs))
        lower = sorted((device / "slaves").iterdir()) if (device / "slaves").is_dir() else []
        for number_below in map(_number, lower):
            if found := _device_outside_memory(number_below, mountinfo, sysfs):
                return _on(_label(device), found)
        if lower:
            return None
        file = _attribute(device / "loop/backing_file")
        if file:
            return _on(device.name, _file_outside_memory(Path(file), mountinfo, sysfs))
    except FileNotFoundError:
        # Device numbers with the major 0 belong to no block device.
        return "no single block device" if number.startswith("0:") else f"the unknown device {number}"
    except OSError as error:
        raise StorageError(f"block device {number} cannot be looked up: {error.strerror}") from error
    return _disk_of(device)


def _disk_of(device: Path) -> str | None:
    if _RAM_DEVICE.fullmatch(device.name) is None:
        return _label(device)
    # Pages that are idle or do not compress may go there (zram's "writeback").
    written_back = _attribute(device / "backing_dev")
    return None if written_back in ("", "none") else f"{device.name}, which writes back to {written_back}"


def _file_outside_memory(path: Path, mountinfo: Path, sysfs: Path) -> str | None:
    try:
        status = path.stat()
    except OSError:
        # It was removed, or belongs to another mount namespace.
        return f"{path}, which cannot be found"
    if stat.S_ISBLK(status.st_mode):
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
        return _on(str(path), _device_outside_memory(number, mountinfo, sysfs))
    return _on(str(path), outside_memory(path, mountinfo, sysfs))


def _number(device: Path) -> str:
    return (device / "dev").read_text(encoding="ascii").strip()


def _attribute(path: Path) -> str:
    """Return the value of an attribute in sysfs (sysfs(5)), empty if there is none."""
    return (files.read_if_present(path) or b"").decode("utf-8", "surrogateescape").strip()


def _label(device: Path) -> str:
    name = _attribute(device / "dm/name")
    return f"{device.name} ({name})" if name else device.name


def _on(upper: str, lower: str | None) -> str | None:
    return None if lower is None else f"{upper} on {lower}"
