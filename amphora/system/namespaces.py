# SPDX-License-Identifier: Apache-2.0
"""Network namespaces by name (network_namespaces(7), ip-netns(8)).

An empty name always means the agent's own namespace.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from amphora.errors import OperationFailed
from amphora.system import files
from amphora.system.command import CommandRunner
from amphora.system.processes import parent_of

NAMESPACE_DIRECTORY = Path("/run/netns")
#: Held while one is made. Not a directory of others: those can be opened, and locked, by any user.
LOCK = Path("/run/amphora-netns.lock")
_LOCK_TIMEOUT = 20.0

#: A listener may bind an address that this amphora does not hold yet: in an active-standby pair the
#: VIP arrives with the role, and a VIP port may be plugged after the upload.
DATA_SYSCTLS: Mapping[str, str] = MappingProxyType(
    {"net/ipv4/ip_nonlocal_bind": "1", "net/ipv6/ip_nonlocal_bind": "1"}
)

_CLONE_NEWNET = 0x40000000

_T = TypeVar("_T")


def exists(name: str) -> bool:
    """Whether the namespace is there."""
    return not name or (NAMESPACE_DIRECTORY / name).exists()


def is_inside(pid: int, name: str) -> bool:
    """Whether a process lives in a namespace; no, if it has ended."""
    there = NAMESPACE_DIRECTORY / name if name else Path("/proc/self/ns/net")
    return _is_same(Path(f"/proc/{pid}/ns/net"), there)


def ensure(name: str, sysctls: Mapping[str, str], runner: CommandRunner) -> None:
    """Make the namespace if it is missing, set its loopback up and the given sysctls. Safe to repeat.

    :param sysctls: path below ``/proc/sys`` to value, such as ``net/ipv4/ip_nonlocal_bind``: ``1``.
    :raises Busy: another process has been making one for too long.
    :raises OperationFailed: it could not be made or set.
    """
    if not name:
        return
    with files.exclusive_lock(LOCK, _LOCK_TIMEOUT):
        # While another process makes it, its file is there before the namespace is.
        if not exists(name):
            _run(runner, ("ip", "netns", "add", name))
    _run(runner, ("ip", "-n", name, "link", "set", "lo", "up"))
    call_inside(name, lambda: write_sysctls(sysctls))


def call_inside(name: str, function: Callable[[], _T]) -> _T:
    """Return what ``function`` returns when called inside a namespace, in a thread made for it.

    Sockets opened there stay in that namespace; the caller's own namespace does not change.

    :raises OperationFailed: the namespace cannot be entered.
    """
    if not name:
        return function()
    outcome: list[_T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            enter(name)
            outcome.append(function())
        except BaseException as error:  # handed to the caller's thread below
            failure.append(error)

    thread = threading.Thread(target=target, name=f"netns-{name}")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def enter(name: str) -> None:
    """Move the calling thread into a namespace for good: for threads made for that only.

    :raises OperationFailed: the namespace cannot be entered.
    """
    _set_namespace(NAMESPACE_DIRECTORY / name)


def _set_namespace(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperationFailed(f"network namespace {path.name} cannot be opened: {error.strerror}") from error
    try:
        # os.setns came with Python 3.12.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise OperationFailed(f"network namespace {path.name} cannot be entered: {reason}")
    finally:
        os.close(descriptor)


def leave(name: str) -> None:
    """Move the calling thread out of a namespace, if it is in that, to where this process was called from.

    For commands that may be started by ``ip netns exec``: they have to reach links of both namespaces.

    :raises OperationFailed: it could not: /proc shows no process outside that could be followed.
    """
    there = NAMESPACE_DIRECTORY / name
    if not name or not _is_same(Path("/proc/thread-self/ns/net"), there):
        return
    # The last is the machine's first process, or that of a container.
    for pid in (*_ancestors(), 1):
        outside = Path(f"/proc/{pid}/ns/net")
        if os.access(outside, os.R_OK) and not _is_same(outside, there):
            _set_namespace(outside)
            return
    raise OperationFailed(
        f"network namespace {name} cannot be left: /proc shows no process that called this one from outside"
    )


def _ancestors() -> Iterator[int]:
    # As /proc numbers them: it may be that of another PID namespace than this process's (pid_namespaces(7)).
    pid = parent_of(int(os.readlink("/proc/self")))
    while pid:
        yield pid
        pid = parent_of(pid)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def write_sysctls(sysctls: Mapping[str, str]) -> None:
    """Set kernel parameters of the calling thread's namespace (sysctl(8)).

    :param sysctls: path below ``/proc/sys`` to value.
    :raises OperationFailed: one could not be set; those before it are.
    """
    for key, value in sysctls.items():
        try:
            (Path("/proc/sys") / key).write_text(value, encoding="ascii")
        except OSError as error:
            raise OperationFailed(f"sysctl {key} could not be set to {value}: {error.strerror}") from error


def read_sysctl(key: str) -> str:
    """Return a kernel parameter of the calling thread's namespace; empty if there is none.

    :param key: path below ``/proc/sys``.
    """
    try:
        return (Path("/proc/sys") / key).read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _run(runner: CommandRunner, argv: tuple[str, ...]) -> None:
    result = runner.run(argv, timeout=10)
    if not result.succeeded:
        raise OperationFailed(f"{' '.join(argv)} failed: {result.output.strip()}")
