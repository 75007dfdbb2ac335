# SPDX-License-Identifier: Apache-2.0
"""The certificate that the agent itself serves to its controllers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from amphora.core import pem
from amphora.core.agent_files.agent_file import OwnFile
from amphora.core.changes.operations import Operations
from amphora.errors import AmphoraError, InvalidInput

LOG = logging.getLogger(__name__)


class AgentCertificate:
    """Replaces the agent's certificate in the file and in the live server together.

    :ivar path: one PEM file with certificate, key and chain; another one after the configuration
        was read again.
    :param try_out: raises where the TLS library cannot use the material in a file.
    :param take_up: makes the server use the file for new connections.
    """

    def __init__(
        self, path: Path, try_out: Callable[[Path], None], take_up: Callable[[], None], operations: Operations
    ) -> None:
        self.path = path
        self._try_out = try_out
        self._file = OwnFile("agent-certificate", self._refuse_unusable, take_up, operations)

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
        """Settle what was cut off when the last agent ended. Called once, at start."""
        self._file.recover(self.path)

    def _refuse_unusable(self, trial: Path) -> None:
        try:
            self._try_out(trial)
        except AmphoraError as error:
            raise InvalidInput(f"TLS cannot use this material: {error}") from error
