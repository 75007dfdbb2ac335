# SPDX-License-Identifier: Apache-2.0
"""Lets tests that run side by side take turns with what the machine has once."""

import fcntl
import tempfile
from pathlib import Path


class Turn:
    """Held from its making until it is closed; the next one waits for that.

    :param thing: name of what is used, such as MAC addresses in the machine's own network namespace.
    """

    def __init__(self, thing):
        self._file = (Path(tempfile.gettempdir()) / f"amphora-tests-{thing}.lock").open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self):
        self._file.close()
