# SPDX-License-Identifier: Apache-2.0
"""What the drivers do to a service in the same way, with the errors of the contract."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.errors import OperationFailed, ServiceError
from amphora.models import ServiceSpec
from amphora.system.command import CommandRunner
from amphora.system.processes import ProcessIdentity


@contextlib.contextmanager
def as_service_error() -> Iterator[None]:
    """Turn a failure of storage or of a command into :class:`ServiceError`; decorates functions too."""
    try:
        yield
    except OperationFailed as error:
        if isinstance(error, ServiceError):
            raise
        raise ServiceError(error.details) from error


def with_output(sentence: str, output: str) -> str:
    """Return a sentence followed by what a process printed, if it printed anything."""
    return f"{sentence}: {output}" if output else sentence


@as_service_error()
def run_check(spec: ServiceSpec, runner: CommandRunner) -> None:
    """Run the check of a service, if it has one, within its ``start_timeout``.

    :raises ServiceError: it refused the service, or could not be run; with its output.
    """
    if not spec.check_argv:
        return
    result = runner.run(
        spec.check_argv, timeout=spec.start_timeout, namespace=spec.namespace, environment=spec.environment
    )
    if not result.succeeded:
        refusal = f"the check of service {spec.name} failed with status {result.status}"
        raise ServiceError(with_output(refusal, result.output.strip()))


def require_none_left(name: str, survivors: Sequence[ProcessIdentity]) -> None:
    """Return if no process of a service has survived its end.

    :raises ServiceError: names those that have.
    """
    if survivors:
        ids = ", ".join(str(survivor.pid) for survivor in survivors)
        raise ServiceError(f"processes of service {name} survived SIGKILL: {ids}")


def send_reload(spec: ServiceSpec, process: ProcessIdentity | None) -> None:
    """Send the reload signal of a service to its main process.

    :raises ServiceError: it has ended.
    """
    handle = None if process is None else ProcessHandle.of(process)
    if handle is None:
        raise ServiceError(f"service {spec.name} ended before it could be reloaded")
    with handle:
        handle.send(spec.reload_signal)
