# SPDX-License-Identifier: Apache-2.0
"""The configuration file of the agent itself."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from amphora.errors import AgentConfigurationFailed, AmphoraError
from amphora.system import files

LOG = logging.getLogger(__name__)


class AgentConfiguration:
    """Replaces the file that the agent was started with, and lets the agent take up what it can at once.

    :param path: of the file; None where the agent was started without one.
    :param try_out: raises where the agent could not start with the configuration in a file.
    :param take_up: makes the running agent read its configuration again.
    """

    def __init__(
        self, path: Path | None, try_out: Callable[[Path], None], take_up: Callable[[], None]
    ) -> None:
        self._path = path
        self._try_out = try_out
        self._take_up = take_up
        self._lock = threading.Lock()

    def put(self, data: bytes) -> None:
        """Check, store and take up a configuration. Safe to repeat.

        The former one stays in force, and in the file, if any step fails. An existing file keeps its mode.

        :raises AgentConfigurationFailed: which step, and why.
        """
        if self._path is None:
            raise AgentConfigurationFailed("The agent was started without --config-file")
        with self._lock:
            try:
                self._refuse_unusable(self._path, data)
                self._replace(self._path, data)
            except AmphoraError as error:
                raise AgentConfigurationFailed(error.details) from error
        LOG.info("the agent's configuration was replaced")

    def _refuse_unusable(self, path: Path, data: bytes) -> None:
        trial = path.with_name(f"{path.name}.new")
        files.write_atomically(trial, data)
        try:
            self._try_out(trial)
        except AmphoraError as error:
            # The name of the trial would mean nothing to whoever sent it.
            raise AgentConfigurationFailed(error.details.replace(str(trial), str(path))) from error
        finally:
            files.remove(trial)

    def _replace(self, path: Path, data: bytes) -> None:
        former, mode = files.read_if_present(path), files.mode_of(path)
        files.write_atomically(path, data, mode or 0o600)
        try:
            self._take_up()
        except AmphoraError:
            if former is not None:
                files.write_atomically(path, former, mode or 0o600)
                self._take_up_again()
            raise

    def _take_up_again(self) -> None:
        try:
            self._take_up()
        except AmphoraError as error:
            LOG.error("the former configuration is stored again, but was not taken up: %s", error)
