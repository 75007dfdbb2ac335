# SPDX-License-Identifier: Apache-2.0
"""Which file system a path lives on (proc_pid_mountinfo(5))."""

from __future__ import annotations

import re
from pathlib import Path

from amphora.errors import StorageError

_MOUNTINFO = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")


def filesystem_type(path: Path, mountinfo: Path = _MOUNTINFO) -> str:
    """Return the type (``tmpfs``, ``ext4``…) of the file system that holds ``path``.

    The path itself need not exist: its nearest existing parent decides. Symbolic links are followed.

    :raises StorageError: the mount table cannot be read.
    """
    try:
        resolved = path.resolve()
        lines = mountinfo.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise StorageError(f"the mount table cannot be read: {error.strerror}") from error
    best, kind = -1, ""
    for line in lines:
        before, _, after = line.partition(" - ")
        mount_point = Path(_ESCAPE.sub(lambda match: chr(int(match[1], 8)), before.split()[4]))
        # A later mount on the same point hides the earlier one, hence >=.
        if resolved.is_relative_to(mount_point) and len(mount_point.parts) >= best:
            best, kind = len(mount_point.parts), after.split()[0]
    return kind
