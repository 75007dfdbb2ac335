# SPDX-License-Identifier: Apache-2.0
"""Real block devices for tests, with an ext2 on each. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from amphora.system.command import SEARCH_PATH

_ZRAM = Path("/sys/class/zram-control")
_MIB = 1 << 20


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
    _run("addpart", str(device), "1", "2048", "16384")
    try:
        partition = Path(f"{device}p1")
        _make_file_system(partition)
        yield partition
    finally:
        _run("delpart", str(device), "1")


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
