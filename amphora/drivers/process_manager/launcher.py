# SPDX-License-Identifier: Apache-2.0
"""Start the main process of a service and wait until it is ready."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from amphora.drivers.process_manager.members import MARKER
from amphora.drivers.process_manager.notify_socket import NotifySocket
from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.drivers.process_manager.service_errors import with_output
from amphora.drivers.process_manager.service_log import ServiceLog
from amphora.errors import ServiceError
from amphora.models import Readiness, ServiceSpec
from amphora.system.command import clean_environment, in_namespace
from amphora.system.processes import identify, read_pid_file

#: Seconds a service without a readiness report must live to count as executed: ``ip netns exec``
#: and interpreters report what they cannot execute by ending.
_SETTLING_TIME = 0.2

#: Seconds between two checks of what has no descriptor: cancellation and pid files.
_POLL_INTERVAL = 0.05


class StartCancelled(ServiceError):
    """The start was cancelled, as by a stop."""


class Launch:
    """One attempt to start a service.

    :param directory: where notify sockets are made; its path must be short (unix(7): 108 bytes).
    :param deadline: in the time of :func:`time.monotonic`.
    :param on_birth: called with the first process before anything is waited for.
    :param is_cancelled: asked repeatedly while waiting.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        mark: str,
        directory: Path,
        log: ServiceLog,
        deadline: float,
        on_birth: Callable[[ProcessHandle], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._spec = spec
        self._mark = mark
        self._socket_path = notify_path(directory, spec.name)
        self._log = log
        self._deadline = deadline
        self._on_birth = on_birth
        self._is_cancelled = is_cancelled

    def run(self) -> ProcessHandle:
        """Start the service and return its main process, ready; the caller closes the handle.

        :raises StartCancelled: it was cancelled; its processes are still there.
        :raises ServiceError: it did not become ready; its processes are still there.
        """
        if self._spec.readiness is Readiness.NOTIFY:
            with NotifySocket.bound_to(self._socket_path) as notify:
                first = self._spawn({"NOTIFY_SOCKET": str(self._socket_path)})
                return self._holding(first, lambda: self._await_notification(first, notify))
        if self._spec.readiness is Readiness.FORKING:
            # A pid file of an earlier run would name another process.
            self._pid_file().unlink(missing_ok=True)
            first = self._spawn({})
            return self._holding(first, lambda: self._await_daemon(first))
        first = self._spawn({})
        return self._holding(first, lambda: self._await_settled(first))

    def _spawn(self, extra: dict[str, str]) -> ProcessHandle:
        spec = self._spec
        environment = clean_environment(spec.environment) | extra | {MARKER: self._mark}
        output = self._log.open_for_run()
        try:
            process = subprocess.Popen(
                in_namespace(spec.argv, spec.namespace),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd="/",
                umask=0o022,
                start_new_session=True,
            )
        except OSError as error:
            raise ServiceError(f"{spec.argv[0]} could not be executed: {error.strerror}") from error
        finally:
            os.close(output)
        # The process is waited for through its descriptor; the object must neither do that nor warn.
        process.returncode = 0
        handle = ProcessHandle(process.pid)
        self._on_birth(handle)
        return handle

    def _holding(self, first: ProcessHandle, wait: Callable[[], ProcessHandle]) -> ProcessHandle:
        with contextlib.ExitStack() as stack:
            stack.enter_context(first)
            main = wait()
            if main is first:
                stack.pop_all()
            return main

    def _await_notification(self, first: ProcessHandle, notify: NotifySocket) -> ProcessHandle:
        main_pid, status = first.pid, ""
        while True:
            ended = first.fileno() in self._poll(first, notify)
            message = notify.receive()
            main_pid = message.main_pid or main_pid
            status = message.status or status
            if message.has_started and main_pid != first.pid:
                return self._take(main_pid)
            if message.has_started and not ended:
                return first
            if ended:
                raise self._not_ready(first.reap())
            if self._is_late():
                raise self._not_ready(f"was not ready in time{status and ': ' + status}")

    def _await_settled(self, first: ProcessHandle) -> ProcessHandle:
        settled_at = min(time.monotonic() + _SETTLING_TIME, self._deadline)
        while time.monotonic() < settled_at:
            if self._poll(first):
                raise self._not_ready(first.reap())
        return first

    def _await_daemon(self, first: ProcessHandle) -> ProcessHandle:
        born = first.identity()
        while not self._poll(first):
            if self._is_late():
                raise self._not_ready("did not go into the background in time")
        outcome = first.reap()
        if outcome != "ended with exit status 0":
            raise self._not_ready(outcome)
        while True:
            pid = read_pid_file(self._pid_file())
            daemon = None if pid is None else identify(pid)
            # A process older than the one started here cannot be a fork of it.
            if daemon and (born is None or daemon.start_ticks >= born.start_ticks):
                return self._take(daemon.pid)
            if self._is_late():
                raise self._not_ready(f"left no live process in {self._spec.pid_file}")
            self._poll()

    def _poll(self, *sources: ProcessHandle | NotifySocket) -> set[int]:
        """Wait a moment for one of the sources; return the descriptors that are ready."""
        if self._is_cancelled():
            raise StartCancelled(f"the start of service {self._spec.name} was cancelled")
        poller = select.poll()
        for source in sources:
            poller.register(source.fileno(), select.POLLIN)
        return {descriptor for descriptor, _ in poller.poll(_POLL_INTERVAL * 1000)}

    def _take(self, pid: int) -> ProcessHandle:
        try:
            return ProcessHandle(pid)
        except ProcessLookupError:
            raise self._not_ready("ended as soon as it was ready") from None

    def _is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def _not_ready(self, what: str) -> ServiceError:
        return ServiceError(with_output(f"service {self._spec.name} {what}", self._log.tail()))

    def _pid_file(self) -> Path:
        if self._spec.pid_file is None:
            raise ServiceError(f"service {self._spec.name} forks but names no pid file")
        return self._spec.pid_file


def notify_path(directory: Path, name: str) -> Path:
    """Return where a service being started reports to; short, however long its name."""
    return directory / f"n-{sha256(name.encode()).hexdigest()[:12]}"
