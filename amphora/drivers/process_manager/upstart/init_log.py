# SPDX-License-Identifier: Apache-2.0
"""What upstart says about the end of a process.

Nobody but its parent can ask how a process ended, and upstart tells it only in the kernel's log
(its init writes there as any kernel message, see dmesg(1)).
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

#: The kernel's log, one record for each read (https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg).
KERNEL_LOG = Path("/dev/kmsg")

_RECORD_SIZE = 8192
_SIZE_LIMIT = 4 * 1024 * 1024


def describe_end(log: str, job: str, pid: int | None) -> str:
    """Return how the last main process of a job with this id ended; empty when the log does not say.

    Without an id it is the last of all.

    A main process that ended with status 0 is not mentioned by upstart.
    """
    prefix = rf";init: {re.escape(job)} main process \({pid or '[0-9]+'}\) "
    found = re.findall(prefix + r"(?:terminated with status (\d+)|killed by (\S+) signal)", log)
    if not found:
        return ""
    status, name = found[-1]
    return f"ended with exit status {status}" if status else f"was killed by SIG{name}"


def read_log(path: Path = KERNEL_LOG) -> str:
    """Return all that a log holds now, without waiting for more; empty when it cannot be read."""
    chunks: list[bytes] = []
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _read_all(descriptor, chunks)
        finally:
            os.close(descriptor)
    return b"".join(chunks).decode("utf-8", "replace")


def _read_all(descriptor: int, chunks: list[bytes]) -> None:
    size = 0
    while size < _SIZE_LIMIT:
        try:
            chunk = os.read(descriptor, _RECORD_SIZE)
        except BrokenPipeError:
            # Records were overwritten before they were read: the next read goes on behind them.
            continue
        if not chunk:
            return
        chunks.append(chunk)
        size += len(chunk)
