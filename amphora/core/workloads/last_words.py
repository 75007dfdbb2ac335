# SPDX-License-Identifier: Apache-2.0
"""Why haproxy says that it does not run as it should: its own words in the failures of proofs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import ProofFailed, ServiceError
from amphora.haproxy.log_lines import alerts
from amphora.models import ServiceState


@contextmanager
def last_words(services: ProcessManager, name: str, printed: str = "") -> Iterator[None]:
    """Let a proof that fails tell what the service has printed since it was started or reloaded.

    :param name: of a service that runs haproxy.
    :param printed: what is known of that already.
    """
    try:
        yield
    except ProofFailed as error:
        words = alerts(printed) or _words(services, name)
        raise type(error)(f"{error.details}\n{words}".rstrip()) from error


def _words(services: ProcessManager, name: str) -> str:
    try:
        status = services.status(name)
        # Of one that has ended the reason matters, and its last words are with it.
        if status.state is not ServiceState.RUNNING and status.last_error:
            return status.last_error
        return alerts(services.output(name))
    except ServiceError:
        return ""
