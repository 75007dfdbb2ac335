# SPDX-License-Identifier: Apache-2.0
"""Runs a suite in a process of its own, ends it when it hangs, and clears away what it leaves.

The process limits each test itself and can go on after it. A test that cannot be interrupted, or takes
the process with it, costs that process: it is killed, and another one runs the tests that are left.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amphora.system.command import CommandRunner
from amphora.system.namespaces import NAMESPACE_DIRECTORY
from amphora.system.processes import children_of
from amphora.testing.conformance_reasons import promise
from amphora.testing.conformance_report import Report

_PR_SET_CHILD_SUBREAPER = 36
#: Seconds beyond a test's limit after which its process is taken for one that cannot be interrupted.
_GRACE = 5.0
#: Seconds to start Python, pytest and the driver's own modules on a busy machine.
_START = 60.0
_CLEANING = 10.0
#: Seconds between looks for ended processes.
_TICK = 0.05


class Unusable(Exception):
    """The driver could not be tested; one sentence says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is to be tested.

    :ivar scratch: a directory for the driver and the tests.
    :ivar timeout: seconds that each test may take.
    :ivar tests: names; none means all.
    :ivar classes: parts of the suite; none means all.
    """

    family: str
    name: str
    scratch: Path
    timeout: float
    tests: Sequence[str] = ()
    classes: Sequence[str] = ()

    def argv(self, descriptor: int, done: Sequence[str]) -> list[str]:
        """Return the command of the process that runs what is not done yet."""
        words = [self.family, self.name, str(self.scratch), str(descriptor), str(self.timeout)]
        chosen = (("--test", self.tests), ("--part", self.classes), ("--done", done))
        options = [f"{option}={value}" for option, values in chosen for value in values]
        return [sys.executable, "-m", "amphora.testing.conformance_run", *words, *options]


@dataclass(slots=True)
class _Progress:
    """How far a process has come.

    :ivar test: the one under way, if any.
    :ivar limit: seconds until the next line must have come.
    """

    limit: float
    test: str = ""
    ended: bool = False
    done: list[str] = field(default_factory=list)


def run_suite(run: Run, report: Report) -> None:
    """Run a suite to its end, adding to the report.

    :raises Unusable: the driver cannot be loaded or used.
    """
    done: list[str] = []
    while True:
        progress = _run_once(run, report, done)
        if progress.ended:
            return
        if not progress.test:
            raise Unusable(f"the tests of {run.family} driver {run.name!r} ended before the first one began")
        done += [*progress.done, progress.test]


def _run_once(run: Run, report: Report, done: Sequence[str]) -> _Progress:
    others = set(children_of(os.getpid()))
    progress = _Progress(_START)
    with _adopting_orphans(), _process(run, done) as (process, lines):
        try:
            for line in _lines(process, lines, progress):
                _take(line, run, report, progress)
            if not progress.ended and progress.test:
                report.add("failed", progress.test, promise(progress.test), _end_of(process, run))
        finally:
            _clear_away(process, others)
    return progress


def _take(line: dict[str, Any], run: Run, report: Report, progress: _Progress) -> None:
    event = line.pop("event")
    progress.limit = run.timeout + _GRACE
    if event == "unusable":
        raise Unusable(line["reason"])
    if event == "loaded":
        report.loaded(**line)
    elif event == "phase":
        progress.test = line["test"]
    elif event == "ended":
        progress.ended = True
    elif event != "collected":
        report.add(event, **line)
        progress.done.append(line["test"])


def _end_of(process: subprocess.Popen[bytes], run: Run) -> str:
    status = process.poll()
    if status is None:
        return f"blocked longer than {run.timeout:g} s in a way that cannot be interrupted"
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return f"it took the process down, which {how}"


@contextlib.contextmanager
def _process(run: Run, done: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    reading, writing = os.pipe()
    # What is installed beside pytest, or set for another project, must not change these tests.
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        process = subprocess.Popen(
            run.argv(writing, done),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        with process:
            yield process, reading
    finally:
        os.close(reading)


def _lines(
    process: subprocess.Popen[bytes], descriptor: int, progress: _Progress
) -> Iterator[dict[str, Any]]:
    """Yield the documents that come, until the last one has, or none comes within the limit."""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    buffer, latest = b"", time.monotonic()
    while not progress.ended and time.monotonic() - latest < progress.limit:
        _reap_orphans(process.pid)
        if not poller.poll(_TICK * 1000):
            continue
        data, latest = os.read(descriptor, 65536), time.monotonic()
        if not data:
            with contextlib.suppress(subprocess.TimeoutExpired):
                # Its end closes the pipe; a driver that merely closes it gets no further.
                process.wait(_GRACE)
            return
        *whole, buffer = (buffer + data).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _reap_orphans(process: int) -> None:
    """Free the ids of ended processes that came to us; services wait for the end of theirs."""
    with contextlib.suppress(ChildProcessError):
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == process:
                return
            os.waitpid(ended.si_pid, 0)


@contextlib.contextmanager
def _adopting_orphans() -> Iterator[None]:
    """Become the parent of whatever loses its own below this process (PR_SET_CHILD_SUBREAPER(2const))."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _clear_away(process: subprocess.Popen[bytes], others: set[int]) -> None:
    """Kill the process and all that came of it, and remove its network namespaces."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(_CLEANING)
    deadline = time.monotonic() + _CLEANING
    # Each one that dies hands its own children to us.
    while (orphans := set(children_of(os.getpid())) - others) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
    for path in NAMESPACE_DIRECTORY.glob(f"npc{process.pid}-*"):
        CommandRunner().run(("ip", "netns", "del", path.name), timeout=10)
