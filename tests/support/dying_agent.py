# SPDX-License-Identifier: Apache-2.0
"""Runs the agent and kills it at the n-th thing it is about to do to the system.

The file that AMPHORA_TEST_ARMED names has n bytes; counting begins with the first event after it
appears. A size rather than a number inside, since looking at a size is no event itself.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.kill", "os.killpg",
    "signal.pidfd_send_signal", "subprocess.Popen", "os.posix_spawn", "os.fork", "socket.connect",
}  # fmt: skip


class Executioner:
    def __init__(self, armed: Path) -> None:
        self._armed = armed
        self._events = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not (event in _CHANGES or (event == "open" and _is_write(arguments))):
            return
        if not self._armed.exists():
            return
        self._events += 1
        if self._events == self._armed.stat().st_size:
            os.kill(os.getpid(), signal.SIGKILL)


def _is_write(arguments: tuple[Any, ...]) -> bool:
    path, _mode, flags = arguments
    return isinstance(path, str | os.PathLike) and isinstance(flags, int) and bool(flags & _WRITING)


if __name__ == "__main__":
    from amphora.cmd.agent import main

    sys.addaudithook(Executioner(Path(os.environ["AMPHORA_TEST_ARMED"])))
    sys.exit(main())
