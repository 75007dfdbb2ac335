# SPDX-License-Identifier: Apache-2.0
"""Lets tests that run side by side take turns with what the machine has once."""

import fcntl
import tempfile
import time
from pathlib import Path

#: Seconds; some keep their turn for all the tests of a file.
_PATIENCE = 600.0


class Turn:
    """Held from its making until it is closed; the next one waits for that.

    :param thing: name of what is used, such as MAC addresses in the machine's own network namespace.
    """

    def __init__(self, thing: str) -> None:
        self._file = (Path(tempfile.gettempdir()) / f"amphora-tests-{thing}.lock").open("w")
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ours():
            if time.monotonic() > deadline:
                self.close()
                raise TimeoutError(f"it was not our turn with {thing} in {_PATIENCE:g} s")
            time.sleep(0.05)

    def close(self) -> None:
        self._file.close()

    def _is_ours(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
