# SPDX-License-Identifier: Apache-2.0
"""Replacing a file that the running agent itself has read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from amphora.core.journal import OperationState
from amphora.core.operations import Operations, Stands, Steps, has_touched
from amphora.system import files

LOG = logging.getLogger(__name__)

_KIND = "replace"


class OwnFile:
    """Puts new content into a file, and lets the agent take it up; or leaves both as they were.

    :param target: names it in the journal.
    :param try_out: raises where the agent could not use the content of a file.
    :param take_up: makes the agent use the file from now on.
    """

    def __init__(
        self,
        target: str,
        try_out: Callable[[Path], None],
        take_up: Callable[[], None],
        operations: Operations,
    ) -> None:
        self._target = target
        self._try_out = try_out
        self._take_up = take_up
        self._operations = operations

    def replace(self, path: Path, data: bytes) -> None:
        """Check, store and take up. An existing file keeps its mode; a new one is for its owner only.

        :raises ChangeFailed: the agent goes on with what it had.
        :raises InvalidInput: likewise, as ``try_out`` refused it.
        """
        trial, former = _trial(path), _former(path)
        mode = files.mode_of(path) or 0o600
        evidence, kept = f"{len(data)} bytes taken up from {path}", list[bool]()

        def stage() -> None:
            files.link(path, former)
            files.write_atomically(trial, data, mode)

        def forget() -> None:
            files.remove(trial)
            files.remove(former)

        def restore() -> str:
            if kept:
                raise Stands(evidence)
            return self._restore(path)

        def keep() -> None:
            kept.append(True)
            forget()

        def discard() -> str:
            forget()
            return "The agent goes on with the former one."

        self._operations.run(
            Steps(
                _KIND,
                self._target,
                stage=stage,
                check=lambda: self._try_out(trial),
                swap=lambda: files.rename(trial, path),
                act=self._take_up,
                prove=lambda: evidence,
                keep=keep,
                discard=discard,
                restore=restore,
            )
        )

    def recover(self, path: Path) -> None:
        """Say what became of a replacement that was cut off; the file is whole in any case.

        Called once, at start, when the agent has read the file as it is now.
        """
        interrupted = self._operations.interrupted(self._target)
        if interrupted is not None:
            swapped = has_touched(interrupted) and not _trial(path).exists()
            state = OperationState.DONE if swapped else OperationState.UNDONE
            which = "new" if swapped else "former"
            self._operations.settle(interrupted, state, f"the agent was started with the {which} one")
        files.remove(_trial(path))
        files.remove(_former(path))

    def _restore(self, path: Path) -> str:
        former = _former(path)
        if former.exists():
            files.rename(former, path)
            try:
                self._take_up()
            except Exception as error:
                LOG.error("%s: the former one is stored again, but was not taken up: %s", path, error)
                return f"The former one is stored again, but was not taken up: {error}"
        files.remove(_trial(path))
        return "The agent goes on with the former one."


def _trial(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _former(path: Path) -> Path:
    return path.with_name(f"{path.name}.former")
