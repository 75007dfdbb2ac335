# SPDX-License-Identifier: Apache-2.0
"""The haproxy executable: what it can do, its own check, and how to run it."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.haproxy.capabilities import Capabilities, read_capabilities
from amphora.system import namespaces
from amphora.system.command import CommandResult, CommandRunner

#: Seconds. A check of 100 backends with 20 servers takes 0.05 s; DNS names in a configuration can
#: make it wait for a resolver.
CHECK_TIMEOUT = 30.0
_VERSION_TIMEOUT = 10.0

#: Exit status of ``haproxy -c`` when the configuration is fine but has nothing to listen on.
_NOTHING_TO_LISTEN_ON = 2
#: Sent by others: the kernel where memory runs out, service managers, operators.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)


class HaproxyProgram:
    """One haproxy executable. Holds only what it can do, so that status requests need not fork."""

    def __init__(self, command: Path, runner: CommandRunner) -> None:
        self._command = command
        self._runner = runner
        self._known: tuple[tuple[int, ...], Capabilities] | None = None

    def version(self) -> Capabilities | None:
        """Return what was last seen of it, without forking; None before the first :meth:`refresh`."""
        return self._known[1] if self._known else None

    def refresh(self) -> Capabilities:
        """Return what the executable can do as it is now; forks only when the file has changed.

        :raises OperationFailed: it is missing or cannot be run.
        """
        identity = self._identity()
        known = self._known
        if known and known[0] == identity:
            return known[1]
        result = self._runner.run((str(self._command), "-vv"), timeout=_VERSION_TIMEOUT)
        try:
            capabilities = read_capabilities(result.output)
        except ValueError as error:
            raise OperationFailed(f"{self._command} -vv ended with status {result.status}: {error}") from None
        self._known = (identity, capabilities)
        return capabilities

    def notifies(self) -> bool:
        """Whether :meth:`service_argv` makes haproxy report that it is ready (Readiness.NOTIFY).

        :raises OperationFailed: the executable is missing or cannot be run.
        """
        return self.refresh().notifies

    def check(
        self,
        files: Sequence[Path],
        *,
        namespace: str = "",
        timeout: float = CHECK_TIMEOUT,
        names: Mapping[str, str] = MappingProxyType({}),
        local_peer: str = "",
    ) -> str:
        """Let haproxy check configuration files and return its output. Changes nothing, may be repeated.

        It reads the files and the certificates they name, and binds nothing.

        :param files: read one after the other as one configuration.
        :param timeout: seconds.
        :param names: path to the name that replaces it in haproxy's output.
        :raises InvalidConfiguration: haproxy's output.
        :raises OperationFailed: the check itself could not be done, or haproxy crashed over it: that proves
            nothing of the files.
        """
        argv = self.check_argv(files, local_peer)
        if not namespaces.exists(namespace):
            raise OperationFailed(f"network namespace {namespace} does not exist")
        result = self._runner.run(argv, timeout=timeout, namespace=namespace)
        output = _rename(result.output, names).strip()
        # "ip netns exec" fails with status 1 too, but without an alert.
        if (result.status == 1 and "[ALERT]" in output) or result.status == _NOTHING_TO_LISTEN_ON:
            raise InvalidConfiguration(output)
        if not result.succeeded:
            raise OperationFailed(
                f"{self._command} -c ended with status {result.status}: {_crash(result)}{output}"
            )
        return output

    def check_argv(self, files: Sequence[Path], local_peer: str = "") -> tuple[str, ...]:
        """Return the command that checks configuration files.

        :param local_peer: this node's name in ``peers`` sections, if not the host name.
        :raises OperationFailed: the executable is missing or cannot be run.
        """
        mode = ("-c", "-V") if self.refresh().check_is_silent else ("-c",)
        return (str(self._command), *mode, *_common(files, local_peer))

    def service_argv(
        self, files: Sequence[Path], pid_file: Path, master_socket: Path, local_peer: str = ""
    ) -> tuple[str, ...]:
        """Return the command that runs haproxy as a service, always as master and worker.

        It stays in the foreground even when the configuration says ``daemon``. SIGUSR2 to the master
        reloads. The master socket is for its own user only.

        :raises OperationFailed: the executable is missing or cannot be run.
        """
        mode = ("-Ws",) if self.notifies() else ("-W", "-db")
        sockets = ("-p", str(pid_file), "-S", f"{master_socket},mode,600")
        return (str(self._command), *mode, *_common(files, local_peer), *sockets)

    def _identity(self) -> tuple[int, ...]:
        try:
            status = os.stat(self._command)
        except OSError as error:
            raise OperationFailed(f"{self._command} cannot be run: {error.strerror}") from error
        if not os.access(self._command, os.X_OK):
            raise OperationFailed(f"{self._command} cannot be run: it is not executable")
        return (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def peer_name(amphora_id: str) -> str:
    """Return the name under which controllers list an amphora among the peers of a load balancer.

    It is the Base64 form of the id's SHA-1 digest, with the two characters that haproxy would not take
    replaced the other way round than in URL-safe Base64, and no dash in front: as an argument of
    ``-L`` that would be an option.
    """
    digest = hashlib.sha1(amphora_id.encode(), usedforsecurity=False).digest()
    name = base64.b64encode(digest, altchars=b"_-").decode().rstrip("=")
    return f"x{name[1:]}" if name.startswith("-") else name


def _crash(result: CommandResult) -> str:
    if result.status >= 0 or -result.status in _FROM_OUTSIDE:
        return ""
    number = -result.status
    return (
        f"haproxy itself crashed (signal {number}, {signal.strsignal(number)}), so nothing is known of the "
        "configuration; another version of haproxy may be able to read it. "
    )


def _common(files: Sequence[Path], local_peer: str) -> Iterator[str]:
    for path in files:
        yield from ("-f", str(path))
    if local_peer:
        yield from ("-L", local_peer)


def _rename(output: str, names: Mapping[str, str]) -> str:
    # The longest first: one path may be the beginning of another.
    for path in sorted(names, key=len, reverse=True):
        output = output.replace(path, names[path])
    return output
