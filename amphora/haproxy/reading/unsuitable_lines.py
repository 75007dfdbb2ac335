# SPDX-License-Identifier: Apache-2.0
"""Lines of a ``global`` section that may not suit this machine (configuration manual, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from amphora.haproxy.reading.configuration import SECTIONS
from amphora.haproxy.reading.lines import decode, split_words

#: Lines that the command line makes superfluous. ``master-worker`` with an argument says more.
_RUN_MODE = (("daemon",), ("master-worker",))


def group_named_in(data: bytes) -> str:
    """Return the group that a configuration names, or empty; of several, haproxy takes the first.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    lines = decode(data).split("\n")
    return next((words[1] for _, words in _global_lines(lines) if words[0] == "group" and len(words) > 1), "")


def without_group(data: bytes) -> bytes:
    """Return a configuration that names no group; every other line keeps its number.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    lines = decode(data).split("\n")
    for number, words in list(_global_lines(lines)):
        if words[0] == "group":
            lines[number] = "    # the group is set by amphora-agent"
    return "\n".join(lines).encode()


def without_run_mode(data: bytes) -> bytes:
    """Return a configuration without ``daemon``, ``master-worker`` and ``pidfile``, each line in its place.

    The command line says all of it already, and newer versions warn of saying it twice, or of the first two
    at all, which ``zero-warning`` makes fatal at a start that ``-c`` has passed.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    lines = decode(data).split("\n")
    for number, words in list(_global_lines(lines)):
        if words in _RUN_MODE or words[0] == "pidfile":
            lines[number] = f"    # {words[0]} is set by amphora-agent"
    return "\n".join(lines).encode()


def _global_lines(lines: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    within_global = False
    for number, raw in enumerate(lines):
        words, _ = split_words(raw)
        if words and words[0] in SECTIONS:
            within_global = words[0] == "global"
        elif words and within_global:
            yield number, words
