# SPDX-License-Identifier: Apache-2.0
"""Where in a configuration a line stands: its section, and whether haproxy surely takes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amphora.haproxy.reading.configuration import SECTIONS
from amphora.haproxy.reading.lines import Line


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
    def words(self) -> tuple[str, ...]:
        """The words of the line."""
        return self.line.words

    def known(self, position: int) -> str:
        """Return a word; empty where there is none or where it depends on an environment variable."""
        words = self.line.words
        return words[position] if position < len(words) and position not in self.line.variables else ""


def placed(lines: Iterable[Line]) -> Iterator[SectionLine]:
    """Yield every line but the conditions themselves, with its place."""
    section, depth = "", 0
    for line in lines:
        first = line.words[0]
        if first.startswith("."):
            depth = max(0, depth + {".if": 1, ".endif": -1}.get(first, 0))
            continue
        head = first in SECTIONS
        section = first if head else section
        yield SectionLine(line, section, depth == 0, head)


def global_values(lines: Iterable[Line]) -> dict[str, tuple[str, ...]]:
    """Return the keywords of all ``global`` sections, each with the words after its last use.

    Those inside conditions count as well: who asks wants to know whether a keyword is there.
    """
    within = (place for place in placed(lines) if place.section == "global" and not place.head)
    return {place.words[0]: place.words[1:] for place in within}
