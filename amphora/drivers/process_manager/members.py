# SPDX-License-Identifier: Apache-2.0
"""Which processes belong to a service, and how all of them are ended.

Without a control group of its own a service is known by three signs: a variable in the environment
each of its processes inherits, the session its main process leads, and descent from that process.
One sign is enough, so a process must shed all three to escape.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Container

from amphora.drivers.process_manager.process_handle import ProcessHandle
from amphora.system.processes import PROC, ProcessIdentity, identify, parent_of, process_ids

#: Variable that marks the processes of a service; its value names the state directory and the service.
MARKER = "AMPHORA_SERVICE"

#: Seconds that processes may take to vanish after SIGKILL.
_KILL_TIMEOUT = 3.0


def find_members(mark: str, main: ProcessIdentity | None) -> list[ProcessIdentity]:
    """Return the live processes of a service, by ascending id.

    :param mark: value of :data:`MARKER` in the service's environment.
    :param main: its main process; once that has ended its id and session could be another's, and
        only the mark counts.
    """
    entry = f"{MARKER}={mark}".encode()
    anchor = main.pid if main is not None and main.is_alive() else None
    members: dict[int, ProcessIdentity] = {}
    # Sorted ids put most parents before their children; a second pass finds the rest.
    candidates = [pid for pid in process_ids() if pid != os.getpid()]
    for pid in (*candidates, *candidates):
        if pid not in members and _belongs(pid, entry, anchor, members):
            identity = identify(pid)
            if identity is not None:
                members[pid] = identity
    return [members[pid] for pid in sorted(members)]


def session_leader(members: list[ProcessIdentity]) -> ProcessIdentity | None:
    """Return the process among the members that was started as the main one, if it lives.

    Main processes lead a session of their own, and are not children of another member.
    """
    ids = {member.pid for member in members}
    for member in members:
        if _session(member.pid) == member.pid and parent_of(member.pid) not in ids:
            return member
    return None


def end_members(mark: str, main: ProcessIdentity | None, timeout: float) -> list[ProcessIdentity]:
    """End all processes of a service and return those that survived.

    The main process gets SIGTERM and ``timeout`` seconds, so that it can end its children itself
    and in order; what is left then gets SIGKILL. Safe to repeat.
    """
    known = find_members(mark, main)
    handle = None if main is None else ProcessHandle.of(main)
    if handle is None:
        return _kill_all(mark, main, known)
    with handle:
        if timeout > 0 and handle.send(signal.SIGTERM):
            handle.wait(timeout)
        survivors = _kill_all(mark, main, known)
        handle.reap()
    return survivors


def _kill_all(mark: str, main: ProcessIdentity | None, known: list[ProcessIdentity]) -> list[ProcessIdentity]:
    deadline = time.monotonic() + _KILL_TIMEOUT
    while True:
        # Looked for again each time, because a process may fork between being found and being killed.
        living = {member for member in known if member.is_alive()} | set(find_members(mark, main))
        if not living or time.monotonic() > deadline:
            return sorted(living, key=lambda member: member.pid)
        for member in living:
            _kill(member, deadline)


def _kill(member: ProcessIdentity, deadline: float) -> None:
    handle = ProcessHandle.of(member)
    if handle is None:
        return
    with handle, contextlib.suppress(PermissionError):
        handle.send(signal.SIGKILL)
        handle.wait(deadline - time.monotonic())
        handle.reap()


def _belongs(pid: int, entry: bytes, anchor: int | None, members: Container[int]) -> bool:
    if parent_of(pid) in members or entry in _environment(pid):
        return True
    return anchor is not None and anchor in (pid, _session(pid))


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _environment(pid: int) -> list[bytes]:
    try:
        return (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
