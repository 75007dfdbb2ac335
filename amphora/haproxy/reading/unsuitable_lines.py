# SPDX-License-Identifier: Apache-2.0
"""Lines of a ``global`` section that may not suit this machine (configuration manual, section 3.1)."""

from __future__ import annotations

from collections.abc import Callable

from amphora.haproxy.reading.lines import decode, read_lines
from amphora.haproxy.reading.section_lines import global_lines

#: Lines that the command line makes redundant. ``master-worker`` with an argument says more.
_RUN_MODE = (("daemon",), ("master-worker",))


def group_named_in(data: bytes) -> str:
    """Return the group that a configuration names, or empty; of several, haproxy takes the first.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    words = (line.words for line in global_lines(read_lines(decode(data))))
    return next((each[1] for each in words if each[0] == "group" and len(each) > 1), "")


def without_group(data: bytes) -> bytes:
    """Return a configuration that names no group; every other line keeps its number.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    return _without(data, lambda words: words[0] == "group")


def without_run_mode(data: bytes) -> bytes:
    """Return a configuration without ``daemon``, ``master-worker`` and ``pidfile``; lines keep their numbers.

    The command line says all of it already, and newer versions warn of saying it twice, or of the first two
    at all, which ``zero-warning`` makes fatal at a start that ``-c`` has passed.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    return _without(data, lambda words: words in _RUN_MODE or words[0] == "pidfile")


def _without(data: bytes, unsuitable: Callable[[tuple[str, ...]], bool]) -> bytes:
    text = decode(data)
    lines = text.split("\n")
    for line in global_lines(read_lines(text)):
        if unsuitable(line.words):
            lines[line.number - 1] = f"    # {line.words[0]} is set by amphora-agent"
    return "\n".join(lines).encode()
