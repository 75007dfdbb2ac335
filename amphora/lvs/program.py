# SPDX-License-Identifier: Apache-2.0
"""keepalived as it runs LVS: its check of a configuration, and its command (keepalived(8))."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from amphora.keepalived.program import KeepalivedProgram


@dataclass(frozen=True, slots=True)
class PidFiles:
    """Where keepalived writes the ids of its processes."""

    main: Path
    vrrp: Path
    check: Path


class LvsProgram:
    """One keepalived executable, in one network namespace.

    Configurations name a network namespace. keepalived reports no error if it cannot enter that; so it is
    given the one of this machine, which takes precedence.

    :param namespace: empty means the agent's own; then it is as the configuration says.
    :param log_facility: number of the syslog facility ``local0`` to ``local7``.
    """

    def __init__(self, keepalived: KeepalivedProgram, namespace: str, log_facility: int = 1) -> None:
        self._keepalived = keepalived
        self._namespace = namespace
        self._log_facility = log_facility

    def check(self, file: Path, names: Mapping[str, str]) -> str:
        """Let keepalived check a configuration file and return its output. Changes nothing, may be repeated.

        :param names: path to the name that replaces it in keepalived's output.
        :raises InvalidConfiguration: keepalived's output.
        :raises OperationFailed: the check itself could not be done.
        """
        return self._keepalived.check(file, namespace=self._namespace, names=names, options=self._inside())

    def service_argv(self, file: Path, pid_files: PidFiles) -> tuple[str, ...]:
        """Return the command that runs keepalived as a service. SIGTERM ends it, its virtual services too.

        It stays in the foreground and runs the part for LVS only. It logs to syslog, where images sort by
        facility, and to standard error, which the process manager keeps.
        """
        return (
            str(self._keepalived.command), "-n", "-l", "-C",
            f"--log-facility={self._log_facility}",
            *self._inside(),
            "-f", str(file),
            "-p", str(pid_files.main), "-r", str(pid_files.vrrp), "-c", str(pid_files.check),
        )  # fmt: skip

    def _inside(self) -> tuple[str, ...]:
        return ("-s", self._namespace) if self._namespace else ()
