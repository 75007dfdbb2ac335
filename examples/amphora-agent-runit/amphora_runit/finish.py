# SPDX-License-Identifier: Apache-2.0
"""What runsv starts as ``./finish`` when the service has ended: tidies up and remembers why.

Run as ``python -I -m amphora_runit.finish EXIT-CODE SIGNAL`` in the service's directory (runsv(8)).
"""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path

from amphora.drivers.process_manager.members import end_members

from amphora_runit.service_directory import ServiceDirectory
from amphora_runit.supervision import Supervision

#: Seconds a service must have been ready for its next crash to count as the first in a row.
_STABLE_AFTER = 10.0


def main(arguments: list[str]) -> None:
    """Tidy up after the service of the current directory."""
    directory = ServiceDirectory(Path.cwd())
    spec = directory.spec()
    # All that the service left, wherever it went: each process carries the mark in its environment.
    end_members(str(directory.path), None, 0)
    if spec is None:
        return
    if spec.pid_file is not None:
        with contextlib.suppress(OSError):
            spec.pid_file.unlink()
    crashes = 1 if directory.ran_for() >= _STABLE_AFTER else directory.crashes() + 1
    directory.note_end(
        ": ".join(filter(None, (describe(*map(int, arguments[:2])), directory.tail()))), crashes
    )
    if not spec.restart.on_crash:
        Supervision(directory.path).tell("d")


def describe(exit_code: int, number: int) -> str:
    """Say how ``run`` ended, from the two numbers that runsv gives."""
    if exit_code >= 0:
        return f"it ended with exit status {exit_code}"
    try:
        return f"it was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"it was killed by signal {number}"


if __name__ == "__main__":
    main(sys.argv[1:])
