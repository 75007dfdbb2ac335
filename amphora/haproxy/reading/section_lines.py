# SPDX-License-Identifier: Apache-2.0
"""The section that a line of a configuration is in, and whether haproxy certainly reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amphora.haproxy.reading.lines import Line

#: First words that begin a section, with any indentation, of haproxy 2.0 to 3.x.
SECTIONS = frozenset(
    """acme backend cache crt-store defaults fcgi-app frontend global http-errors listen log-forward
    log-profile mailers peers program resolvers ring traces userlist""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class SectionLine:
    """One line and its section.

    :ivar section: first word of the section's head, such as ``global``; empty before the first.
    :ivar certain: False between ``.if`` and ``.endif``, where only haproxy knows.
    :ivar head: the line begins the section.
    """

    line: Line
    section: str
    certain: bool
    head: bool = False

    @property
    def number(self) -> int:
        """Counted from 1."""
        return self.line.number

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the line."""
        return self.line.words

    def known(self, position: int) -> str:
        """Return a word; empty if there is none or it depends on an environment variable."""
        words = self.line.words
        return words[position] if position < len(words) and position not in self.line.variables else ""


def section_lines(lines: Iterable[Line]) -> Iterator[SectionLine]:
    """Yield every line but the conditions themselves, with its section."""
    section, depth = "", 0
    for line in lines:
        first = line.words[0]
        if first.startswith("."):
            depth = max(0, depth + {".if": 1, ".endif": -1}.get(first, 0))
            continue
        head = first in SECTIONS
        section = first if head else section
        yield SectionLine(line, section, depth == 0, head)


def global_lines(lines: Iterable[Line]) -> Iterator[SectionLine]:
    """Yield the lines of all ``global`` sections, without their heads."""
    return (line for line in section_lines(lines) if line.section == "global" and not line.head)


def global_values(lines: Iterable[Line]) -> dict[str, tuple[str, ...]]:
    """Return the keywords of all ``global`` sections, each with the words after its last use.

    Those inside conditions count as well: callers want to know whether a keyword is there.
    """
    return {line.words[0]: line.words[1:] for line in global_lines(lines)}
