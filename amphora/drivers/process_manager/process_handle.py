# SPDX-License-Identifier: Apache-2.0
"""Processes held by a descriptor, so that no signal reaches a successor (pidfd_open(2))."""

from __future__ import annotations

import os
import select
import signal
from types import TracebackType

from amphora.system.processes import ProcessIdentity, identify


class ProcessHandle:
    """A process, child or not, that existed when the handle was made.

    While the handle is open its number refers to this process and no other, even after its end.
    A context manager; closing leaves the process alone.
    """

    def __init__(self, pid: int) -> None:
        """Open the process that has this id now.

        :raises ProcessLookupError: there is none.
        """
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    @classmethod
    def of(cls, identity: ProcessIdentity) -> ProcessHandle | None:
        """Return a handle of this very process, or None when it has ended."""
        try:
            handle = cls(identity.pid)
        except ProcessLookupError:
            return None
        # Checked after opening: from here on the id cannot be reused by another process.
        if identity.is_alive():
            return handle
        handle.close()
        return None

    def __enter__(self) -> ProcessHandle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor; it becomes readable when the process ends."""
        return self._descriptor

    def identity(self) -> ProcessIdentity | None:
        """Return the identity of the process, or None when it has ended."""
        return identify(self.pid)

    def send(self, number: signal.Signals) -> bool:
        """Send a signal; return False when the process has ended.

        :raises PermissionError: it belongs to another user.
        """
        try:
            signal.pidfd_send_signal(self._descriptor, number)
        except ProcessLookupError:
            return False
        return True

    def wait(self, seconds: float) -> bool:
        """Return whether the process ended within so many seconds."""
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        return bool(poller.poll(max(0.0, seconds) * 1000))

    def reap(self) -> str:
        """Return how an ended process ended, and free its id if it was a child of this one."""
        try:
            result = os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return "ended with an unknown status, as another process had started it"
        if result is None:
            return "is still running"
        if result.si_code == os.CLD_EXITED:
            return f"ended with exit status {result.si_status}"
        return f"was killed by {signal_name(result.si_status)}"

    def close(self) -> None:
        """Close the descriptor; safe to repeat."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15, ``signal 99`` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
