# SPDX-License-Identifier: Apache-2.0
"""What runsv starts as ``./run``: becomes the service, so that runsv watches the service itself.

Run as ``python -I -m amphora_runit.run`` in the service's directory.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from amphora.drivers.process_manager.launcher import notify_path
from amphora.drivers.process_manager.members import MARKER, end_members
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.errors import AmphoraError, OperationFailed
from amphora.models import Readiness, ServiceSpec
from amphora.system.command import CommandRunner, clean_environment, in_namespace
from amphora.system.processes import identify, parent_of, read_pid_file

from amphora_runit.service_directory import ServiceDirectory
from amphora_runit.witness import leave_witness

#: Exit status when the service was not even tried (sysexits(3) has none for it).
NOT_STARTED = 100

_PR_SET_CHILD_SUBREAPER = 36
_LOOK_INTERVAL = 0.02
_LONG = 3600.0


def main() -> None:
    """Become the service of the current directory, or say why not and end."""
    directory = ServiceDirectory(Path.cwd())
    directory.begin_run()
    spec = directory.spec()
    if spec is None:
        sys.exit(NOT_STARTED)
    time.sleep(delay(spec, directory.crashes()))
    _detach(directory)
    try:
        # Left by a runsv that was killed: a second one beside it would take no address.
        end_members(str(directory.path), None, 0)
        check(spec, CommandRunner())
        become(spec, directory)
    except AmphoraError as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_STARTED)


def delay(spec: ServiceSpec, crashes: int) -> float:
    """Return the seconds to wait before the start after so many crashes in a row.

    runsv itself waits for a second after a run or a finish that was shorter than that.
    """
    if crashes == 0:
        return 0.0
    return float(min(spec.restart.delay * 2.0 ** min(crashes - 1, 64), spec.restart.max_delay))


def check(spec: ServiceSpec, runner: CommandRunner) -> None:
    """Run the spec's check, if it has one.

    :raises OperationFailed: it refused the service, or could not be run.
    """
    if not spec.check_argv:
        return
    result = runner.run(
        spec.check_argv, timeout=spec.start_timeout, namespace=spec.namespace, environment=spec.environment
    )
    if not result.succeeded:
        raise OperationFailed(
            f"the check of service {spec.name} failed with status {result.status}: {result.output.strip()}"
        )


def become(spec: ServiceSpec, directory: ServiceDirectory) -> None:
    """Execute the service in place of this process; return only when one that forks has ended.

    :raises OperationFailed: it could not be executed, or did not fork as it should.
    """
    environment = clean_environment(spec.environment) | {MARKER: str(directory.path)}
    argv = in_namespace(spec.argv, spec.namespace)
    if spec.readiness is Readiness.FORKING:
        _Daemon(spec, directory).keep(argv, environment)
        return
    socket_path = notify_path(directory.path.parent, spec.name)
    leave_witness(spec, directory, socket_path)
    if spec.readiness is Readiness.NOTIFY:
        environment["NOTIFY_SOCKET"] = str(socket_path)
    os.chdir("/")
    try:
        os.execvpe(argv[0], argv, environment)  # noqa: S606
    except OSError as error:
        raise OperationFailed(f"{argv[0]} could not be executed: {error.strerror}") from error


class _Daemon:
    """A service that goes into the background: this process stays in its place for runsv to watch."""

    def __init__(self, spec: ServiceSpec, directory: ServiceDirectory) -> None:
        self._spec, self._directory = spec, directory
        self._pid_file = spec.pid_file or Path("/nonexistent")
        self._deadline = time.monotonic() + spec.start_timeout

    def keep(self, argv: tuple[str, ...], environment: dict[str, str]) -> None:
        """Start it, pass SIGTERM on to it, and return when it has ended."""
        # Orphans become our children instead of init's, so that no pid file needs to be trusted.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._pid_file.unlink(missing_ok=True)
        try:
            first = subprocess.Popen(argv, env=environment, cwd="/")
            status = first.wait(self._spec.start_timeout)
        except OSError as error:
            raise OperationFailed(f"{argv[0]} could not be executed: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            raise OperationFailed("it did not go into the background in time") from None
        if status != 0:
            raise OperationFailed(f"its first process ended with status {status}")
        with self._find() as daemon:
            signal.signal(signal.SIGTERM, lambda *_: daemon.send(signal.SIGTERM))
            runner, main_process = identify(os.getpid()), daemon.identity()
            if runner and main_process:
                self._directory.note_ready(runner, main_process)
            while not daemon.wait(_LONG):
                pass
            print(daemon.reap(), file=sys.stderr)

    def _find(self) -> ProcessHandle:
        while time.monotonic() < self._deadline:
            pid = read_pid_file(self._pid_file)
            if pid is not None and parent_of(pid) == os.getpid():
                return ProcessHandle(pid)
            time.sleep(_LOOK_INTERVAL)
        raise OperationFailed(f"it left no process of its own in {self._pid_file}")


def _detach(directory: ServiceDirectory) -> None:
    """Lead a session of its own, with an empty input, a file for all output, and nothing else open."""
    os.setsid()
    os.umask(0o022)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    for number, descriptor in enumerate(
        (os.open(os.devnull, os.O_RDONLY), os.open(directory.output, flags, 0o600))
    ):
        os.dup2(descriptor, number)
    os.dup2(1, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))


if __name__ == "__main__":
    main()
