# SPDX-License-Identifier: Apache-2.0
"""Real block devices for tests, with an ext2 on each. Needs root."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from amphora.system.command import SEARCH_PATH

_ZRAM = Path("/sys/class/zram-control")
_MIB = 1 << 20
_BLKPG, _ADD, _DELETE = 0x1269, 1, 2


@contextlib.contextmanager
def ram_disk(scratch: Path, mebibytes: int = 16) -> Iterator[Path]:
    """A block device in memory: a zram of its own, or a loop device where the kernel has no zram.

    :param scratch: directory on tmpfs.
    """
    if not _ZRAM.is_dir():
        with loop_device(scratch / "ram-disk", mebibytes) as device:
            yield device
        return
    number = (_ZRAM / "hot_add").read_text().strip()
    try:
        Path(f"/sys/block/zram{number}/disksize").write_text(str(mebibytes * _MIB))
        device = Path(f"/dev/zram{number}")
        _make_file_system(device)
        yield device
    finally:
        # Refused while it is mounted anywhere: a test that leaves it so fails here.
        (_ZRAM / "hot_remove").write_text(number)


@contextlib.contextmanager
def loop_device(below: Path, mebibytes: int = 16) -> Iterator[Path]:
    """A loop device over a file, which is made if it is missing, or over a block device."""
    if not below.exists():
        with below.open("wb") as image:
            image.truncate(mebibytes * _MIB)
    device = Path(_run("losetup", "--show", "--find", str(below)).strip())
    try:
        _make_file_system(device)
        yield device
    finally:
        _run("losetup", "--detach", str(device))


@contextlib.contextmanager
def partition_of(device: Path) -> Iterator[Path]:
    """A partition in the middle of a device; only the kernel knows of it, no table has it."""
    _change_partition(device, _ADD, 1 * _MIB, 8 * _MIB)
    try:
        partition = Path(f"{device}p1")
        _make_file_system(partition)
        yield partition
    finally:
        _change_partition(device, _DELETE)


def _change_partition(device: Path, operation: int, start: int = 0, length: int = 0) -> None:
    """Make or remove the first partition by BLKPG (linux/blkpg.h); images do not all have addpart(8)."""
    partition = ctypes.create_string_buffer(struct.pack("qqi64s64s4x", start, length, 1, b"", b""))
    argument = struct.pack("iii4xP", operation, 0, len(partition), ctypes.addressof(partition))
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _BLKPG, argument)
    finally:
        os.close(descriptor)


def _make_file_system(device: Path) -> None:
    _run("mkfs.ext2", "-q", "-F", str(device))


def _run(*argv: str) -> str:
    return subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
        env=os.environ | {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"},
    ).stdout
