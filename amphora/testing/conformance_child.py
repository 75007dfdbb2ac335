# SPDX-License-Identifier: Apache-2.0
"""Runs a function in a child process that may hang or crash, and clears away what it leaves."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from amphora.system.command import CommandRunner
from amphora.system.namespaces import NAMESPACE_DIRECTORY
from amphora.system.processes import children_of
from amphora.testing.conformance_reasons import BlockedTooLong

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds beyond the time limit after which a child is taken for one that cannot be interrupted.
_GRACE = 5.0
#: Seconds between further attempts to get out of a call that blocks again while it is being left.
_AGAIN = 2.0
_CLEANING = 10.0
#: Seconds between looks for ended processes.
_TICK = 0.05

#: Sets the seconds within which the child has its result, or calls this again.
Progress = Callable[[float], object]


class ChildLost(Exception):
    """A child ended, or had to be killed, before it had a result; the message says how."""


def in_child(work: Callable[[Progress], Any], timeout: float) -> Any:
    """Return what a function returns in a child process, of which nothing is left afterwards.

    Its standard streams lead nowhere. It has to limit its own time, see :func:`time_limit`; a child
    that cannot be interrupted is killed.

    :param work: its result must be a JSON document.
    :param timeout: seconds to its result, or to the first call of the function that it is given.
    :raises ChildLost: there is no result.
    """
    others = set(children_of(os.getpid()))
    reading, writing = os.pipe()
    with _adopting_orphans():
        child = os.fork()
        if child == 0:
            _work(work, writing)
        os.close(writing)
        try:
            return _result(child, reading, timeout)
        finally:
            os.close(reading)
            _clear_away(child, others)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the main thread when the block takes longer, even while it waits in a call.

    :raises BlockedTooLong: it did.
    """

    def ring(_number: int, _frame: object) -> None:
        raise BlockedTooLong(f"blocked longer than {seconds:g} s")

    former = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _work(work: Callable[[Progress], Any], writing: int) -> NoReturn:
    status = 1
    stderr = os.dup(2)
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(nowhere)
        result = work(lambda seconds: _send(writing, "limit", seconds))
        _send(writing, "result", result)
        status = 0
    except BaseException:
        os.write(stderr, traceback.format_exc().encode())
    finally:
        # Threads of a driver that hangs would keep a normal exit waiting.
        os._exit(status)


def _send(writing: int, kind: str, value: Any) -> None:
    os.write(writing, json.dumps([kind, value]).encode() + b"\n")


def _result(child: int, reading: int, timeout: float) -> Any:
    poller = select.poll()
    poller.register(reading, select.POLLIN)
    buffer, latest = b"", time.monotonic()
    while time.monotonic() - latest < timeout + _GRACE:
        _reap_orphans(child)
        if not poller.poll(_TICK * 1000):
            continue
        data, latest = os.read(reading, 65536), time.monotonic()
        if not data:
            break
        *lines, buffer = (buffer + data).split(b"\n")
        for kind, value in map(json.loads, lines):
            if kind == "result":
                return value
            timeout = value
    raise ChildLost(_end_of(child, timeout))


def _end_of(child: int, timeout: float) -> str:
    deadline = time.monotonic() + _GRACE
    # The end of a child closes the pipe; a driver that merely closes it gets no further.
    while not (ended := os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        if time.monotonic() > deadline:
            return f"blocked longer than {timeout:g} s in a way that cannot be interrupted"
        time.sleep(_TICK)
    if ended.si_code == os.CLD_EXITED:
        return f"it took the process down, which ended with status {ended.si_status}"
    return f"it took the process down, which was killed by {signal.Signals(ended.si_status).name}"


def _reap_orphans(child: int) -> None:
    """Free the ids of ended processes that came to us; services wait for the end of theirs."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == child:
                return
            os.waitpid(ended.si_pid, 0)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of what loses its own below this process (PR_SET_CHILD_SUBREAPER(2const))."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _clear_away(child: int, others: set[int]) -> None:
    """Kill the child and all that came of it, and remove its network namespaces."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    deadline = time.monotonic() + _CLEANING
    # Each one that dies hands its own children to us.
    while (left := set(children_of(os.getpid())) - others) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    for path in NAMESPACE_DIRECTORY.glob(f"npc{child}-*"):
        CommandRunner().run(("ip", "netns", "del", path.name), timeout=10)
