# SPDX-License-Identifier: Apache-2.0
"""The certificate that the agent itself serves to its controllers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from amphora.core import pem
from amphora.errors import AmphoraError, InvalidInput, OperationFailed
from amphora.system import files

LOG = logging.getLogger(__name__)


class AgentCertificate:
    """Replaces the agent's certificate in the file and in the live server together.

    :ivar path: one PEM file with certificate, key and chain; another one after the configuration
        was read again.
    :param try_out: raises where the TLS library cannot use the material in a file.
    :param take_up: makes the server use the file for new connections.
    """

    def __init__(self, path: Path, try_out: Callable[[Path], None], take_up: Callable[[], None]) -> None:
        self.path = path
        self._try_out = try_out
        self._take_up = take_up
        self._lock = threading.Lock()

    def put(self, data: bytes) -> None:
        """Check, store and serve new material; safe to repeat. No connection is lost.

        Former material stays in force, and in the file, if any step fails.

        :raises InvalidInput: no certificate, no key, they do not match, or TLS cannot use them.
        :raises OperationFailed: it could not be stored or served.
        """
        pem.check_certificate_and_key(data)
        with self._lock:
            self._refuse_unusable(data)
            former = files.read_if_present(self.path)
            files.write_atomically(self.path, data)
            try:
                self._take_up()
            except Exception as error:
                if former is not None:
                    files.write_atomically(self.path, former)
                raise OperationFailed(f"the server goes on with its former certificate: {error}") from error
        LOG.info("the agent's certificate was replaced")

    def _refuse_unusable(self, data: bytes) -> None:
        trial = self.path.with_name(f"{self.path.name}.new")
        files.write_atomically(trial, data)
        try:
            self._try_out(trial)
        except AmphoraError as error:
            raise InvalidInput(f"TLS cannot use this material: {error}") from error
        finally:
            files.remove(trial)
