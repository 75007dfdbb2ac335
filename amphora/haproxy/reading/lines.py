# SPDX-License-Identifier: Apache-2.0
"""Lines and words of a configuration, cut as haproxy cuts them (configuration manual, section 2.2).

Blanks separate words. A backslash, single quotes and double quotes protect characters, in the middle
of a word too; ``#`` outside quotes begins a comment. A carriage return ends the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from amphora.errors import InvalidConfiguration

_BLANKS = " \t\v\f"
_PLAIN_WORD = re.compile(rf"[^{_BLANKS}]+")
_NEEDS_CARE = re.compile(r"[\\\"'#\r]")
_PIECE = re.compile(
    rf"""(?P<blank>[{_BLANKS}]+)
    | '(?P<single>[^']*)'?
    | "(?P<double>(?:\\.|[^"\\])*)"?
    | (?P<comment>\#)
    | (?P<plain>(?:\\x[0-9A-Fa-f]{{2}}|\\[ \\tnr#'"]|[^{_BLANKS}'"\\#]|\\)+)""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[ \\tnr#'\"])")
_QUOTED_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|[ \\tnr#'\"$])")
_VARIABLE = re.compile(r"\\.|(?P<variable>\$\{?[A-Za-z_])")
_CONTROL = {"t": "\t", "n": "\n", "r": "\r"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line that holds at least one word.

    :ivar number: counted from 1.
    :ivar words: without their quotes and escapes; environment variables are left as written.
    :ivar variables: positions of the words that depend on an environment variable.
    """

    number: int
    words: tuple[str, ...]
    variables: frozenset[int] = frozenset()


def decode(data: bytes) -> str:
    """Return a configuration as text.

    haproxy itself reads bytes and stops at a NUL; both would make our reading differ from its own.

    :raises InvalidConfiguration: not UTF-8, or a NUL byte; the details name the line.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidConfiguration(
            f"line {line}: not UTF-8 text (byte 0x{data[error.start]:02x} at offset {error.start})"
        ) from error
    position = text.find("\0")
    if position >= 0:
        raise InvalidConfiguration(f"line {text.count(chr(10), 0, position) + 1}: NUL byte")
    return text


def read_lines(text: str) -> Iterator[Line]:
    """Yield the lines that hold words; odd text never raises."""
    for number, raw in enumerate(text.split("\n"), start=1):
        words, variables = split_words(raw)
        if words:
            yield Line(number, words, variables)


def split_words(raw: str) -> tuple[tuple[str, ...], frozenset[int]]:
    """Return the words of one line, and the positions of those that hold an environment variable."""
    if not _NEEDS_CARE.search(raw):
        return tuple(_PLAIN_WORD.findall(raw)), frozenset()
    words: list[str] = []
    variables: set[int] = set()
    within_word = False
    for piece in _PIECE.finditer(raw.lstrip(f"{_BLANKS}\r").partition("\r")[0]):
        if piece["comment"]:
            break
        if piece["blank"]:
            within_word = False
            continue
        if not within_word:
            words.append("")
            within_word = True
        words[-1] += _unescape(piece)
        if piece["double"] and any(match["variable"] for match in _VARIABLE.finditer(piece["double"])):
            variables.add(len(words) - 1)
    return tuple(words), frozenset(variables)


def quote(word: str) -> str:
    """Return a word written so that haproxy reads it back unchanged."""
    if word and re.fullmatch(r"[\w./:@%+,=-]+", word, re.ASCII):
        return word
    # Single quotes protect everything but themselves.
    return "'" + word.replace("'", "'\\''") + "'"


def _unescape(piece: re.Match[str]) -> str:
    if piece["single"] is not None:
        return piece["single"]
    if piece["double"] is not None:
        return _QUOTED_ESCAPE.sub(_escaped_character, piece["double"])
    return _ESCAPE.sub(_escaped_character, piece["plain"])


def _escaped_character(match: re.Match[str]) -> str:
    code = match[1]
    if len(code) == 3:
        return chr(int(code[1:], 16))
    return _CONTROL.get(code, code)
