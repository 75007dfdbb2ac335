# SPDX-License-Identifier: Apache-2.0
"""The configuration file of the agent itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from amphora.core.agent_files.agent_file import OwnFile
from amphora.core.changes.operations import Operations
from amphora.errors import AgentConfigurationFailed, AmphoraError, ChangeFailed

LOG = logging.getLogger(__name__)


class AgentConfiguration:
    """Replaces the file that the agent was started with, and lets the agent take up what it can at once.

    :param path: of the file; None where the agent was started without one.
    :param try_out: raises where the agent could not start with the configuration in a file.
    :param take_up: makes the running agent read its configuration again.
    """

    def __init__(
        self,
        path: Path | None,
        try_out: Callable[[Path], None],
        take_up: Callable[[], None],
        operations: Operations,
    ) -> None:
        self._path = path
        self._try_out = try_out
        self._file = OwnFile("agent-configuration", self._refuse_unusable, take_up, operations)

    def put(self, data: bytes) -> None:
        """Check, store and take up a configuration. Safe to repeat.

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
        """Settle what was cut off when the last agent ended. Called once, at start."""
        if self._path is not None:
            self._file.recover(self._path)

    def _refuse_unusable(self, trial: Path) -> None:
        try:
            self._try_out(trial)
        except AmphoraError as error:
            # The name of the trial would mean nothing to whoever sent it.
            details = error.details.replace(str(trial), str(self._path))
            raise AgentConfigurationFailed(details) from error
