# SPDX-License-Identifier: Apache-2.0
"""Ask upstart to start and stop jobs (initctl(8)), and read how they ended."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.errors import ServiceError
from amphora.system.command import CommandResult, CommandRunner

#: Seconds that a command may take which waits for no job.
_MARGIN = 10.0

_STATUS = re.compile(r"(\S+) (?:\(\S*\) )?(start|stop|respawn)/([a-z-]+)(?:, process (\d+))?")

#: The kernel's log, one record for each read (https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg).
KERNEL_LOG = Path("/dev/kmsg")

_RECORD_SIZE = 8192
_SIZE_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class JobStatus:
    """Where a job is: ``start/running``, ``stop/waiting`` and the steps between (init(5)).

    :ivar pid: the process of the step, or the main one; None without either.
    """

    goal: str
    state: str
    pid: int | None = None

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing of it runs: it was stopped, or it has failed. Upstart does not distinguish them."""
        return (self.goal, self.state) == ("stop", "waiting")


def parse_status(output: str, name: str) -> JobStatus | None:
    """Return the last status line of a job without instances in some output, or None if there is none."""
    status = None
    for line in output.splitlines():
        match = _STATUS.fullmatch(line.strip())
        if match and match[1] == name:
            status = JobStatus(match[2], match[3], int(match[4]) if match[4] else None)
    return status


class Initctl:
    """Runs initctl with a time limit each.

    :param command: the program.
    """

    def __init__(self, runner: CommandRunner, command: Path) -> None:
        self._runner = runner
        self._command = command

    def version(self) -> str:
        """Return its version line, ``init (upstart 1.13.2)``; other programs print other lines.

        :raises ServiceError: it could not be executed or did not answer within a second.
        """
        return self._run("version", limit=1.0).output.strip()

    def status(self, name: str) -> JobStatus | None:
        """Return where a job is; None when upstart does not know it.

        :raises ServiceError: its output is neither.
        """
        result = self._run("status", name)
        status = parse_status(result.output, name)
        if status is None and "Unknown job" not in result.output:
            raise ServiceError(f"initctl status {name} failed: {result.output.strip()}")
        return status

    def start(self, name: str, limit: float) -> JobStatus:
        """Start a job and return where it is once its main process was spawned; it may have ended since.

        :param limit: seconds that its pre-start may take.
        :raises ServiceError: pre-start refused it, it cannot be executed, it runs already, or the time is up.
        """
        result = self._run("start", name, limit=limit + _MARGIN)
        status = parse_status(result.output, name)
        if status is None or not result.succeeded:
            raise ServiceError(f"initctl start {name} failed: {result.output.strip()}")
        return status

    def stop(self, name: str, limit: float) -> None:
        """Stop a job; one that does not run or is not known is fine.

        A failure of initctl is no proof: for a job whose file was changed or removed it can fail
        although the job has ended. So the job is checked afterwards.

        :param limit: seconds it may take.
        :raises ServiceError: it still runs.
        """
        result = self._run("stop", name, limit=limit + _MARGIN)
        status = parse_status(result.output, name) if result.succeeded else self.status(name)
        if status is not None and not status.is_at_rest:
            raise ServiceError(
                f"initctl stop {name} left it in {status.goal}/{status.state}: {result.output.strip()}"
            )

    def begin_to_stop(self, name: str) -> None:
        """Have a job stopped without waiting for its end; one that does not run is fine.

        :raises ServiceError: initctl could not be executed.
        """
        self._run("stop", "--no-wait", name)

    def reload_configuration(self) -> None:
        """Read all job files again, for certain; upstart watches them, but may not have read them yet.

        :raises ServiceError: it failed.
        """
        result = self._run("reload-configuration")
        if not result.succeeded:
            raise ServiceError(f"initctl reload-configuration failed: {result.output.strip()}")

    @as_service_error()
    def _run(self, *words: str, limit: float = _MARGIN) -> CommandResult:
        return self._runner.run((str(self._command), *words), timeout=limit)


def describe_end(log: str, job: str, pid: int | None) -> str:
    """Return how the last main process of a job with this id ended; empty when it is not logged.

    Without an id it is the last of all.

    A main process that ended with status 0 is not mentioned by upstart.
    """
    prefix = rf";init: {re.escape(job)} main process \({pid or '[0-9]+'}\) "
    found = re.findall(prefix + r"(?:terminated with status (\d+)|killed by (\S+) signal)", log)
    if not found:
        return ""
    status, name = found[-1]
    return f"ended with exit status {status}" if status else f"was killed by SIG{name}"


def read_log(path: Path = KERNEL_LOG) -> str:
    """Return all that a log holds now, without waiting for more; empty when it cannot be read."""
    chunks: list[bytes] = []
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            _read_all(descriptor, chunks)
        finally:
            os.close(descriptor)
    return b"".join(chunks).decode("utf-8", "replace")


def _read_all(descriptor: int, chunks: list[bytes]) -> None:
    size = 0
    while size < _SIZE_LIMIT:
        try:
            chunk = os.read(descriptor, _RECORD_SIZE)
        except BrokenPipeError:
            # Records were overwritten before they were read: the next read goes on behind them.
            continue
        if not chunk:
            return
        chunks.append(chunk)
        size += len(chunk)
