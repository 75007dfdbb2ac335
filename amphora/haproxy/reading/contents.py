# SPDX-License-Identifier: Apache-2.0
"""Reads files that a configuration names, whatever they are: a named pipe, a device that never ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

#: Bytes. Larger files are passed over: maps are never read whole, only opened.
_LARGEST = 16 * 1024 * 1024


def read_content(path: Path, only_open: bool = False) -> bytes | None:
    """Return the content of a file; None for a large one, or when it is only opened.

    Never waits for somebody to write into it.

    :raises OSError: it cannot be read, or is nothing that ends.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode):
            raise OSError(0, "it is a named pipe")
        if only_open or status.st_size > _LARGEST:
            return None
        if stat.S_ISCHR(status.st_mode):
            raise OSError(0, "it is a device")
        return file.read(_LARGEST)
