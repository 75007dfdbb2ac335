# SPDX-License-Identifier: Apache-2.0
"""The keepalived executable: its own check, and how to run it (keepalived(8))."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.system import namespaces
from amphora.system.command import CommandRunner

#: Seconds; a check takes 0.01 to 0.05 s, but host names in a configuration can make it wait.
CHECK_TIMEOUT = 20.0

#: Exit statuses of ``keepalived -t`` that speak of the configuration: a permanent error, remarks of
#: any weight, and remarks about script security, which hide all the others.
_REMARKS = (4, 5, 6)

#: Remarks on configurations that keepalived then runs as meant. Controllers send each of these.
_HARMLESS = re.compile(
    r"""SECURITY\ VIOLATION\ -\ (check\ )?scripts\ are\ being\ executed
    | nopreempt\ will\ not\ work\ with\ initial\ state\ MASTER
    | does\ not\ support\ authentication\.\ Ignoring
    | Truncating\ auth_pass\ to
    | vrrp_notify_fifo\ already\ specified
    | NOTICE:\ setting\ config\ option
    | Script\ user\ '[^']*'\ does\ not\ exist
    | Virtual\ server\ .*\ has\ no\ real\ servers\ -\ ignoring
    """,
    re.VERBOSE,
)

#: What keepalived says of a script that it is not going to run, and what it leaves out (measured on 2.2.7,
#: 2.3.3 and 2.3.4).
_INSECURE = re.compile(r"Disabling .* due to insecure")
_WHY_INSECURE = (
    "keepalived runs a script only if no one but root can change it and, from 2.3 on, if no directory of its "
    "path is a symbolic link (as /bin is on many systems). Name the script by its real path."
)


class KeepalivedProgram:
    """One keepalived executable.

    :ivar command: its path.
    """

    def __init__(self, command: Path, runner: CommandRunner) -> None:
        self.command = command
        self._runner = runner

    def check(
        self,
        file: Path,
        *,
        namespace: str = "",
        timeout: float = CHECK_TIMEOUT,
        names: Mapping[str, str] = MappingProxyType({}),
        options: Sequence[str] = (),
    ) -> str:
        """Let keepalived check a configuration file and return its output. Changes nothing, may be repeated.

        It runs within the namespace, where the interfaces are. Remarks that do not keep it
        from running the configuration are no refusal, although its exit status is the same.

        :param timeout: seconds.
        :param names: path to the name that replaces it in keepalived's output.
        :param options: further ones of keepalived's.
        :raises InvalidConfiguration: keepalived's output, and what to do if that does not say it.
        :raises OperationFailed: the check itself could not be done.
        """
        self._require_executable()
        if not file.is_file():
            # keepalived takes a missing file for an empty one.
            raise OperationFailed(f"{file} is missing, so it cannot be checked")
        if not namespaces.exists(namespace):
            raise OperationFailed(f"network namespace {namespace} does not exist")
        result = self._runner.run(
            (str(self.command), "-t", *options, "-f", str(file)), timeout=timeout, namespace=namespace
        )
        lines = _without_repetitions(_rename(result.output, names, file))
        output = "\n".join(lines)
        if result.succeeded:
            return output or "Configuration file is valid"
        if result.status not in _REMARKS:
            raise OperationFailed(f"{self.command} -t ended with status {result.status}: {output}")
        if any(_INSECURE.search(line) for line in lines):
            raise InvalidConfiguration(f"{output}\n{_WHY_INSECURE}")
        if not lines or not all(_HARMLESS.search(line) for line in lines):
            raise InvalidConfiguration(output or f"keepalived refuses it with status {result.status}")
        return output

    def service_argv(self, file: Path, pid_file: Path, vrrp_pid_file: Path) -> tuple[str, ...]:
        """Return the command that runs keepalived as a service. SIGHUP reloads, SIGTERM ends it.

        It stays in the foreground, runs the VRRP part only (the other would need IPVS), and logs to
        standard error and not to syslog, so that the process manager keeps its output.
        """
        mode = ("-n", "-l", "-G", "-P")
        return (str(self.command), *mode, "-f", str(file), "-p", str(pid_file), "-r", str(vrrp_pid_file))

    def _require_executable(self) -> None:
        if not os.access(self.command, os.X_OK):
            reason = "it is not executable" if self.command.exists() else "no such file"
            raise OperationFailed(f"{self.command} cannot be run: {reason}")


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


def _rename(output: str, names: Mapping[str, str], file: Path) -> str:
    # keepalived shortens a path that it was given to the last component.
    known = dict(names)
    if str(file) in known:
        known.setdefault(f"({file.name}:", f"({known[str(file)]}:")
    for path in sorted(known, key=len, reverse=True):
        output = output.replace(path, known[path])
    return output


def _without_repetitions(output: str) -> list[str]:
    return list(dict.fromkeys(line.rstrip() for line in output.splitlines() if line.strip()))
