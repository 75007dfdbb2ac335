# SPDX-License-Identifier: Apache-2.0
"""Replacing a file that the running agent itself has read."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from amphora.core.changes.expected import digest_of
from amphora.core.changes.flights import Flights
from amphora.core.changes.journal import OperationState
from amphora.core.changes.operations import Operations, Stands, Steps
from amphora.system import files

LOG = logging.getLogger(__name__)

_KIND = "replace"
_FORMER_GOES_ON = "The agent goes on with the former one."


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
        self._flights = Flights[None]()
        self._one_at_a_time = threading.Lock()

    def replace(self, path: Path, data: bytes) -> None:
        """Check, store and take up. An existing file keeps its mode; a new one is for its owner only.

        Who asks for what is under way already gets its outcome.

        :raises ChangeFailed: the agent goes on with what it had.
        :raises InvalidInput: likewise, as ``try_out`` refused it.
        """

        def replace() -> None:
            with self._one_at_a_time:
                self._run(path, data)

        self._flights.join((path, data), replace)

    def _run(self, path: Path, data: bytes) -> None:
        replacement = _Replacement(path, data, self._take_up)
        self._operations.run(
            Steps(
                _KIND,
                self._target,
                stage=replacement.stage,
                check=lambda: self._try_out(_trial(path)),
                swap=lambda: files.rename(_trial(path), path),
                act=self._take_up,
                prove=lambda: replacement.evidence,
                keep=replacement.keep,
                discard=replacement.discard,
                restore=replacement.restore,
            ),
            intent=digest_of(data),
        )

    def recover(self, path: Path) -> None:
        """Say what became of a replacement that was cut off; the file is whole in any case.

        Called once, at start, when the agent has read the file as it is now.
        """
        interrupted = self._operations.interrupted(self._target)
        if interrupted is not None:
            is_new = digest_of(files.read_if_present(path) or b"") == interrupted.intent
            state = OperationState.DONE if is_new else OperationState.UNDONE
            which = "new" if is_new else "former"
            self._operations.settle(interrupted, state, f"the agent was started with the {which} one")
        files.remove(_trial(path))
        files.remove(_former(path))


class _Replacement:
    """One replacement, with what it keeps beside the file."""

    def __init__(self, path: Path, data: bytes, take_up: Callable[[], None]) -> None:
        self.evidence = f"{len(data)} bytes taken up from {path}"
        self._path = path
        self._data = data
        self._take_up = take_up
        self._is_kept = False

    def stage(self) -> None:
        files.link(self._path, _former(self._path))
        files.write_atomically(_trial(self._path), self._data, files.mode_of(self._path) or 0o600)

    def keep(self) -> None:
        self._is_kept = True
        self._forget()

    def discard(self) -> str:
        self._forget()
        return _FORMER_GOES_ON

    def restore(self) -> str:
        if self._is_kept:
            raise Stands(self.evidence)
        outcome = self._go_back() if _former(self._path).exists() else _FORMER_GOES_ON
        # Before the swap both are names of one file, and renaming one to the other does nothing (rename(2)).
        self._forget()
        return outcome

    def _go_back(self) -> str:
        files.rename(_former(self._path), self._path)
        try:
            self._take_up()
        except Exception as error:
            LOG.error("%s: the former one is stored again, but was not taken up: %s", self._path, error)
            return f"The former one is stored again, but was not taken up: {error}"
        return _FORMER_GOES_ON

    def _forget(self) -> None:
        files.remove(_trial(self._path))
        files.remove(_former(self._path))


def _trial(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _former(path: Path) -> Path:
    return path.with_name(f"{path.name}.former")
