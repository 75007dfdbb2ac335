# SPDX-License-Identifier: Apache-2.0
"""Run a command: argv list, clean environment, time limit, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from amphora.errors import CommandTimeout, OperationFailed

#: Directories searched for commands named without one; sbin first, as amphora images keep haproxy there.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Output kept of one command, in bytes: a check of a broken configuration can print a line per line.
OUTPUT_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class CommandResult:
    """How a command ended.

    :ivar status: exit status, or minus the signal that ended it.
    :ivar output: standard output and error as they came, undecodable bytes replaced.
    """

    argv: tuple[str, ...]
    status: int
    output: str

    @property
    def succeeded(self) -> bool:
        """Whether the exit status was 0."""
        return self.status == 0


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child: nothing is inherited; ``extra`` is added."""
    return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "HOME": "/"} | dict(extra or {})


def in_namespace(argv: Sequence[str], namespace: str) -> tuple[str, ...]:
    """Return the argv that executes ``argv`` in the named network namespace (ip-netns(8)).

    ``ip netns exec`` replaces itself by the command, so the process id and signals stay true.
    An empty name means the agent's own namespace: argv comes back unchanged.
    """
    return ("ip", "netns", "exec", namespace, *argv) if namespace else tuple(argv)


class CommandRunner:
    """Runs commands for the other rooms, which never fork themselves."""

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        namespace: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> CommandResult:
        """Run a command to its end and return its result, also of a failing one.

        :param timeout: seconds; then its whole process group is killed.
        :raises CommandTimeout: it did not end in time.
        :raises OperationFailed: it could not be executed at all.
        """
        full = in_namespace(argv, namespace)
        try:
            process = subprocess.Popen(
                full,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=clean_environment(environment),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise OperationFailed(f"{full[0]} could not be executed: {error.strerror}") from error
        with process:
            try:
                output, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                _kill_group(process.pid)
                raise CommandTimeout(full, timeout) from None
        text = output[:OUTPUT_LIMIT].decode("utf-8", "replace")
        return CommandResult(tuple(full), process.returncode, text)


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
