# SPDX-License-Identifier: Apache-2.0
"""Runs the agent; the file that AMPHORA_TEST_FORKS names gets a byte for each process it starts."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

_FORKS = ("subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty", "os.system")


def count_into(descriptor: int) -> Callable[[str, tuple[Any, ...]], None]:
    def hook(event: str, _arguments: tuple[Any, ...]) -> None:
        if event in _FORKS:
            os.write(descriptor, b".")

    return hook


if __name__ == "__main__":
    from amphora.cmd.agent import main

    sys.addaudithook(count_into(os.open(os.environ["AMPHORA_TEST_FORKS"], os.O_WRONLY | os.O_APPEND)))
    sys.exit(main())
