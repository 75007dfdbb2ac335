# SPDX-License-Identifier: Apache-2.0
"""Words and blocks of a keepalived configuration, cut as keepalived cuts them (keepalived.conf(5)).

``!`` and ``#`` begin comments except within double quotes. A line is a statement; a brace opens or
closes its block anywhere, on a line of its own too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_PIECE = re.compile(
    r"""(?P<blank>\s+)
    | "(?P<quoted>[^"]*)"?
    | (?P<comment>[!#])
    | (?P<brace>[{}])
    | (?P<plain>[^\s"!\#{}]+)""",
    re.VERBOSE,
)
_DEFINITION = re.compile(r"\s*\$(\w+)\s*=\s*(.*?)\s*")
_USE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_OPEN, _CLOSE = "{", "}"


@dataclass(slots=True)
class Block:
    """A statement with what its braces hold.

    :ivar words: without quotes; none for the file as a whole.
    :ivar children: in the order of the file.
    """

    words: tuple[str, ...]
    children: list[Block] = field(default_factory=list)

    @property
    def keyword(self) -> str:
        """The first word, or an empty string."""
        return self.words[0] if self.words else ""

    def all(self, keyword: str) -> list[Block]:
        """Return the statements directly in this block that begin with a keyword."""
        return [child for child in self.children if child.keyword == keyword]

    def value(self, keyword: str) -> str:
        """Return what follows a keyword on its last line in this block; empty if it is not there."""
        found = [child.words[1] for child in self.all(keyword) if len(child.words) > 1]
        return found[-1] if found else ""


def read_blocks(data: bytes) -> Block:
    """Return the whole of a configuration as a tree; odd text never raises.

    Bytes that are not UTF-8 are replaced. Files that it includes are not followed. A brace too many
    is skipped, and a missing one is added at the end.
    """
    root = Block(())
    open_blocks, last = [root], None
    for words in _statements(_substituted(data.decode("utf-8", "replace"))):
        if words == (_CLOSE,):
            if len(open_blocks) > 1:
                open_blocks.pop()
            last = None
        elif words == (_OPEN,):
            last = last or _added(open_blocks[-1], ())
            open_blocks.append(last)
            last = None
        else:
            last = _added(open_blocks[-1], words)
    return root


def _added(parent: Block, words: tuple[str, ...]) -> Block:
    parent.children.append(Block(words))
    return parent.children[-1]


def _statements(lines: Iterator[str]) -> Iterator[tuple[str, ...]]:
    """Yield statements and braces, each brace as a statement of its own."""
    for line in lines:
        words: list[str] = []
        for word, is_brace in _words(line):
            if not is_brace:
                words.append(word)
                continue
            if words:
                yield tuple(words)
            words = []
            yield (word,)
        if words:
            yield tuple(words)


def _words(line: str) -> Iterator[tuple[str, bool]]:
    for piece in _PIECE.finditer(line):
        if piece["comment"]:
            return
        if piece["quoted"] is not None:
            # A quoted brace is a word; no keyword contains one.
            yield piece["quoted"].replace(_OPEN, "").replace(_CLOSE, ""), False
        elif piece["brace"]:
            yield piece["brace"], True
        elif piece["plain"]:
            yield piece["plain"], False


def _substituted(text: str) -> Iterator[str]:
    """Yield the lines with ``$NAME`` replaced by what a line ``$NAME=value`` before them says."""
    definitions: dict[str, str] = {}
    for line in text.splitlines():
        used = _USE.sub(lambda match: definitions.get(match[1] or match[2], match[0]), line)
        definition = _DEFINITION.fullmatch(line)
        if definition is None:
            yield used
        else:
            definitions[definition[1]] = _USE.sub(
                lambda match: definitions.get(match[1] or match[2], match[0]), definition[2]
            )
