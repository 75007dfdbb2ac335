# SPDX-License-Identifier: Apache-2.0
"""Conditions that a driver must cope with, brought about on purpose, and what it may leave behind."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from amphora.system import namespaces
from amphora.system.mounts import outside_memory

_SYS_CLONE3 = 435
#: struct clone_args of clone(2): words of 64 bits.
_CLONE_ARGS, _EXIT_SIGNAL, _SET_TID, _SET_TID_SIZE = 11, 4, 8, 9

_MEMORY = (Path("/dev/shm"), Path("/run"), Path("/tmp"))  # noqa: S108

_FORKING = ("os.fork", "os.forkpty", "os.posix_spawn", "os.posix_spawnp", "os.system")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Let every write of this process and its new children to a file fail, as on a full disk.

    Files can still be made, emptied and removed, just as there. Sockets, pipes and what other
    processes write are not concerned. By RLIMIT_FSIZE (setrlimit(2)), so no privilege is needed;
    Python ignores the signal that comes with it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def no_processes() -> Iterator[list[str]]:
    """Refuse to start processes; gives the list of ways in which it was tried all the same."""
    attempts: list[str] = []

    def refuse(way: str) -> Any:
        def refused(*_arguments: object, **_options: object) -> None:
            attempts.append(way)
            raise OSError(errno.EPERM, f"{way} is forbidden for the time being")

        return refused

    with contextlib.ExitStack() as patches:
        patches.enter_context(mock.patch.object(subprocess.Popen, "__init__", refuse("subprocess.Popen")))
        for way in _FORKING:
            patches.enter_context(mock.patch(way, refuse(way)))
        yield attempts


def born_as(pid: int, argv: Sequence[str]) -> None:
    """Start a process under a process id of our choice, which must be free. The caller reaps it.

    By clone3(2) with ``set_tid``; needs Linux 5.5, and CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE.

    :raises OSError: the id is taken, or this process may not choose.
    """
    wanted = (ctypes.c_int * 1)(pid)
    arguments = (ctypes.c_uint64 * _CLONE_ARGS)()
    arguments[_EXIT_SIGNAL] = signal.SIGCHLD
    arguments[_SET_TID], arguments[_SET_TID_SIZE] = ctypes.addressof(wanted), 1
    # PyDLL keeps the interpreter's lock: the child has no other thread that could release it.
    libc = ctypes.PyDLL(None, use_errno=True)
    born = libc.syscall(_SYS_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    if born == 0:
        _become(argv)
    if born < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _become(argv: Sequence[str]) -> None:
    try:
        os.setsid()
        os.execv(argv[0], list(argv))  # noqa: S606
    finally:
        os._exit(127)


@contextlib.contextmanager
def living_in(namespace: str) -> Iterator[None]:
    """Make a named network namespace the one of this thread, and of threads and processes it starts.

    In the main thread it is the one of the process too: what ``/proc/self/ns/net`` means.

    :raises OperationFailed: it cannot be entered; that needs root.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        namespaces.enter(namespace)
        yield
    finally:
        # An absolute path stands for itself: the namespace to return to may have no name.
        namespaces.enter(f"/proc/thread-self/fd/{home}")
        os.close(home)


def open_descriptors() -> dict[int, str]:
    """Return the open descriptors of this process and what each one is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        # The one that lists the directory is gone by now.
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def descriptors_left(before: dict[int, str]) -> str:
    """Return in words which descriptors are open that were not before; empty if there are not more."""
    now = open_descriptors()
    new = [now[number] for number in now if now[number] != before.get(number)]
    return f"{len(now) - len(before)} descriptors stay open: {new}" if len(now) > len(before) else ""


def files_named(text: str, roots: Sequence[Path]) -> list[str]:
    """Return the paths below some directories whose last part has this text in it, sorted."""
    found = []
    for root in roots:
        for directory, subdirectories, names in os.walk(root):
            found += [os.path.join(directory, name) for name in (*subdirectories, *names) if text in name]
    return sorted(set(found))


def memory_directory() -> Path:
    """Return a world-writable directory on a memory-backed file system.

    :raises AssertionError: this machine has no such directory.
    """
    for candidate in _MEMORY:
        if outside_memory(candidate) is None and _is_writable(candidate):
            return candidate
    raise AssertionError(f"no writable memory-backed file system among {', '.join(map(str, _MEMORY))}")


def _is_writable(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False
