# SPDX-License-Identifier: Apache-2.0
"""Why a test failed, in one line that the author of a driver understands."""

from __future__ import annotations

import re
import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

#: Characters of a reason; what differs stands at the beginning.
_LONGEST = 500
#: The standard library, and where the time limit of a test strikes.
_NOT_THE_DRIVERS = (sysconfig.get_path("stdlib"), str(Path(__file__).with_name("conformance_child.py")))
_NOT_RAISED = re.compile(r"DID NOT RAISE (?:<class '[\w.]*?)?(\w+)(?:'>)?$")


class BlockedTooLong(BaseException):
    """The time limit of a test; derived so that no ``except Exception`` of a driver swallows it."""


def promise(test: str) -> str:
    """Return what a test's name says: ``test_stop_may_be_repeated[v4]`` → ``stop may be repeated (v4)``."""
    name, _, parameters = test.removeprefix("test_").partition("[")
    words = name.replace("_", " ")
    return f"{words} ({parameters.removesuffix(']')})" if parameters else words


def reason(error: BaseException, phase: str = "call") -> str:
    """Return one line that says what was wrong and where.

    :param phase: of the test as pytest names them: ``setup``, ``call``, ``teardown``.
    """
    when = {"setup": "before the test itself: ", "teardown": "while cleaning up: "}.get(phase, "")
    return _one_line(when + _what(error))


def _what(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, BlockedTooLong):
        return f"{text}{_place(error.__traceback__)}"
    if match := _NOT_RAISED.match(text):
        return f"{match[1]} was not raised, although the contract says it is"
    if isinstance(error, AssertionError):
        return _assertion(text) or f"not as promised{_place(error.__traceback__)}"
    return f"{type(error).__name__}: {text}{_place(error.__traceback__)}"


def _assertion(text: str) -> str:
    first = text.partition("\n")[0]
    # A message of the suite itself; pytest adds the expression on lines of its own.
    return f"not true: {text.removeprefix('assert ')}" if first.startswith("assert ") else first


def _place(trace: TracebackType | None) -> str:
    every = traceback.extract_tb(trace)
    # Where a driver waits in a lock or a subprocess, the driver is what its author wants to see.
    frames = [frame for frame in every if not frame.filename.startswith(_NOT_THE_DRIVERS)] or every
    if not frames:
        return ""
    return f" (in {frames[-1].name}() at {Path(frames[-1].filename).name}:{frames[-1].lineno})"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
