# SPDX-License-Identifier: Apache-2.0
"""Puts the emulator's commands in their usual places of a container, and becomes init there."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.upstart.rig import Upstart


def main() -> None:
    """Never returns."""
    directory = Path("/run/upstart")
    directory.mkdir(exist_ok=True)
    machine = Upstart(directory, root=Path("/"))
    machine.kernel_log = Path("/dev/kmsg")
    machine.install()
    Path("/run/entered").write_text("yes\n")
    argv = machine.init_argv()
    os.execve(argv[0], argv, {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})


if __name__ == "__main__":
    main()
