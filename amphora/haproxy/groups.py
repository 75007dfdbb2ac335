# SPDX-License-Identifier: Apache-2.0
"""The ``group`` of a ``global`` section (configuration manual, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator

from amphora.haproxy.configuration import SECTIONS
from amphora.haproxy.lines import decode, split_words


def group_named_in(data: bytes) -> str:
    """Return the group that a configuration names, or empty; of several, haproxy takes the first.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    lines = decode(data).split("\n")
    return next((words[1] for _, words in _group_lines(lines) if len(words) > 1), "")


def without_group(data: bytes) -> bytes:
    """Return a configuration that names no group; every other line keeps its number.

    :raises InvalidConfiguration: it is not UTF-8 or holds a NUL byte.
    """
    lines = decode(data).split("\n")
    for number, _ in list(_group_lines(lines)):
        lines[number] = "    # the group is set by amphora-agent"
    return "\n".join(lines).encode()


def _group_lines(lines: list[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    within_global = False
    for number, raw in enumerate(lines):
        words, _ = split_words(raw)
        if words and words[0] in SECTIONS:
            within_global = words[0] == "global"
        elif words and words[0] == "group" and within_global:
            yield number, words
