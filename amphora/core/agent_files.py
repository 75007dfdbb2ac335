# SPDX-License-Identifier: Apache-2.0
"""Files that the running agent itself has read: its certificate and its configuration."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from amphora.core import pem
from amphora.core.changes.expected import etag_of
from amphora.core.changes.journal import OperationState
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps
from amphora.core.changes.single_flight import SingleFlight
from amphora.errors import AgentConfigurationFailed, AmphoraError, ChangeFailed, InvalidInput
from amphora.system import files

LOG = logging.getLogger(__name__)

_KIND = "replace"
_FORMER_STAYS = "The agent goes on with the former one."


class AgentCertificate:
    """Replaces the agent's certificate in the file and in the live server together.

    :ivar path: one PEM file with certificate, key and chain; another one after the configuration
        was read again.
    :param validate: raises if the TLS library cannot use the material in a file.
    :param apply: makes the server use the file for new connections.
    """

    def __init__(
        self, path: Path, validate: Callable[[Path], None], apply: Callable[[], None], operations: Operations
    ) -> None:
        self.path = path

        def check(trial: Path) -> None:
            try:
                validate(trial)
            except AmphoraError as error:
                raise InvalidInput(f"TLS cannot use this material: {error}") from error

        self._file = AgentFile("agent-certificate", check, apply, operations)

    def put(self, data: bytes) -> None:
        """Check, store and serve new material; safe to repeat. No connection is lost.

        Former material stays in force, and in the file, if any step fails.

        :raises InvalidInput: no certificate, no key, they do not match, or TLS cannot use them.
        :raises OperationFailed: it could not be stored or served.
        """
        pem.check_certificate_and_key(data)
        self._file.replace(self.path, data)
        LOG.info("the agent's certificate was replaced")

    def recover(self) -> None:
        """Settle what was interrupted when the last agent ended. Called once, at start."""
        self._file.recover(self.path)


class AgentConfiguration:
    """Replaces the file that the agent was started with; the agent applies what it can at once.

    :param path: of the file; None if the agent was started without one.
    :param validate: raises if the agent could not start with the configuration in a file.
    :param apply: makes the running agent read its configuration again.
    """

    def __init__(
        self,
        path: Path | None,
        validate: Callable[[Path], None],
        apply: Callable[[], None],
        operations: Operations,
    ) -> None:
        self._path = path

        def check(trial: Path) -> None:
            try:
                validate(trial)
            except AmphoraError as error:
                # The client does not know the name of the trial.
                raise AgentConfigurationFailed(error.details.replace(str(trial), str(path))) from error

        self._file = AgentFile("agent-configuration", check, apply, operations)

    def put(self, data: bytes) -> None:
        """Check, store and apply a configuration. Safe to repeat.

        The former one stays in force, and in the file, if any step fails. An existing file keeps its mode.

        :raises AgentConfigurationFailed: which step, and why.
        """
        if self._path is None:
            raise AgentConfigurationFailed("The agent was started without --config-file")
        try:
            self._file.replace(self._path, data)
        except ChangeFailed as error:
            raise AgentConfigurationFailed(error.reason) from error
        LOG.info("the agent's configuration was replaced")

    def recover(self) -> None:
        """Settle what was interrupted when the last agent ended. Called once, at start."""
        if self._path is not None:
            self._file.recover(self._path)


class AgentFile:
    """Puts new content into a file and lets the agent use it; or leaves both as they were.

    :param target: names it in the journal.
    :param validate: raises if the agent could not use the content of a file.
    :param apply: makes the agent use the file from now on.
    """

    def __init__(
        self,
        target: str,
        validate: Callable[[Path], None],
        apply: Callable[[], None],
        operations: Operations,
    ) -> None:
        self._target = target
        self._validate = validate
        self._apply = apply
        self._operations = operations
        self._single_flight = SingleFlight[None]()
        self._one_at_a_time = threading.Lock()

    def replace(self, path: Path, data: bytes) -> None:
        """Check, store and apply. An existing file keeps its mode; a new one is for its owner only.

        A request for what is under way already gets its outcome.

        :raises ChangeFailed: the agent goes on with what it had.
        :raises InvalidInput: likewise, as ``validate`` refused it.
        """

        def replace() -> None:
            with self._one_at_a_time:
                self._run(path, data)

        self._single_flight.join((path, data), replace)

    def recover(self, path: Path) -> None:
        """Settle a replacement that was interrupted; the file is whole in any case.

        Called once, at start, when the agent has read the file as it is now.
        """
        interrupted = self._operations.interrupted(self._target)
        if interrupted is not None:
            is_new = etag_of(files.read_if_present(path) or b"") == interrupted.intent
            state = OperationState.DONE if is_new else OperationState.UNDONE
            which = "new" if is_new else "former"
            self._operations.settle(interrupted, state, f"the agent was started with the {which} one")
        _clean_up(path)

    def _run(self, path: Path, data: bytes) -> None:
        replacement = _Replacement(path, data, self._apply)
        self._operations.run(
            Steps(
                _KIND,
                self._target,
                stage=replacement.stage,
                check=lambda: self._validate(_trial(path)),
                swap=lambda: files.rename(_trial(path), path),
                apply=self._apply,
                prove=lambda: replacement.evidence,
                commit=replacement.commit,
                discard=replacement.discard,
                restore=replacement.restore,
            ),
            intent=etag_of(data),
        )


class _Replacement:
    """One replacement, with what it keeps beside the file."""

    def __init__(self, path: Path, data: bytes, apply: Callable[[], None]) -> None:
        self.evidence = f"{len(data)} bytes applied from {path}"
        self._path = path
        self._data = data
        self._apply = apply
        self._is_kept = False

    def stage(self) -> None:
        files.link(self._path, _former(self._path))
        files.write_atomically(_trial(self._path), self._data, files.mode_of(self._path) or 0o600)

    def commit(self) -> None:
        self._is_kept = True
        _clean_up(self._path)

    def discard(self) -> str:
        _clean_up(self._path)
        return _FORMER_STAYS

    def restore(self) -> str:
        if self._is_kept:
            raise AlreadyInEffect(self.evidence)
        outcome = self._go_back() if _former(self._path).exists() else _FORMER_STAYS
        # Before the swap both are names of one file, and renaming one to the other does nothing (rename(2)).
        _clean_up(self._path)
        return outcome

    def _go_back(self) -> str:
        files.rename(_former(self._path), self._path)
        try:
            self._apply()
        except Exception as error:
            LOG.error("%s: the former one is stored again, but could not be applied: %s", self._path, error)
            return f"The former one is stored again, but could not be applied: {error}"
        return _FORMER_STAYS


def _clean_up(path: Path) -> None:
    files.remove(_trial(path))
    files.remove(_former(path))


def _trial(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _former(path: Path) -> Path:
    return path.with_name(f"{path.name}.former")
