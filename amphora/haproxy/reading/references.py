# SPDX-License-Identifier: Apache-2.0
"""Files that a configuration makes haproxy read (configuration manual, sections 3, 4, 5 and 7).

Only files that haproxy certainly reads are returned: none inside ``.if``, that depends on an environment
variable, or that follows a ``default-path``.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from amphora.haproxy.reading.binds import BIND_PARAMETERS_WITH_VALUE
from amphora.haproxy.reading.lines import Line
from amphora.haproxy.reading.section_lines import SectionLine, section_lines
from amphora.haproxy.reading.servers import SERVER_PARAMETERS_WITH_VALUE

#: haproxy starts relative names from its working directory.
WORKING_DIRECTORY = Path("/")
#: Bytes. Larger files are skipped: maps are never read whole, only opened.
_LARGEST = 16 * 1024 * 1024


class FileKind(Enum):
    """What a file must be for haproxy to take it."""

    #: Certificate and key; for clients, a directory of such files is allowed.
    CERTIFICATE = "certificate"
    CERTIFICATE_LIST = "list of certificates"
    #: Authorities or revocation lists; a directory is allowed.
    AUTHORITY = "authority"
    #: Any content, but not empty.
    CONTENT = "content"
    #: It may be empty: patterns, maps, error pages, scripts.
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class FileReference:
    """One mention of a file.

    :ivar keyword: what names it, such as ``crt``.
    :ivar path: as haproxy opens it; relative ones start from its working directory.
    :ivar may_be_directory: a directory of such files is allowed.
    """

    line: int
    keyword: str
    path: str
    kind: FileKind
    may_be_directory: bool = False

    @property
    def location(self) -> Path:
        """The path, made absolute."""
        return WORKING_DIRECTORY / self.path


_SERVER_FILES = {
    "crt": (FileKind.CERTIFICATE, False),
    "ca-file": (FileKind.AUTHORITY, True),
    "crl-file": (FileKind.AUTHORITY, True),
}
_BIND_FILES = {
    "crt": (FileKind.CERTIFICATE, True),
    "default-crt": (FileKind.CERTIFICATE, False),
    "crt-list": (FileKind.CERTIFICATE_LIST, False),
    "ca-file": (FileKind.AUTHORITY, True),
    "ca-verify-file": (FileKind.AUTHORITY, True),
    "crl-file": (FileKind.AUTHORITY, True),
    "tls-ticket-keys": (FileKind.CONTENT, False),
}
_GLOBAL_FILES = {
    "lua-load": FileKind.TEXT,
    "lua-load-per-thread": FileKind.TEXT,
    "ssl-dh-param-file": FileKind.CONTENT,
}
_RULES = ("http-request", "http-response", "http-after-response", "tcp-request", "tcp-response")
_REPLIES = ("return", "deny", "tarpit", "silent-drop", "reject")
#: Free text, which is not searched.
_FREE_TEXT = frozenset({"description", "log-format", "log-format-sd", "error-log-format"})
#: Parameters of replies that take one value.
_REPLY_PARAMETERS = frozenset(
    """status content-type errorfile errorfiles file lf-file string lf-string deny_status""".split()  # noqa: SIM905
)
#: Words that begin an anonymous ACL.
_OPENING = ("{", "!{")
#: Words before free text.
_BEFORE_TEXT = ("string", "tag")
#: Actions followed by a sample expression rather than by text.
_TAKING_EXPRESSIONS = ("set-var(", "track-sc", "set-src", "set-dst", "set-priority")
_MAP = re.compile(r"map(?:_[a-z]{2,5}){0,2}\(\s*([^,()\"'\\\s]+)\s*[,)]")
#: A converter follows a fetch, which has no blanks.
_EXPRESSION = re.compile(r"%\[([^\]\s]*)\]")
_PLAIN_EXPRESSION = re.compile(r"[a-z][\w.]*(?:\([^()\s]*\))?,\S*", re.ASCII)


def referenced_files(lines: Sequence[Line]) -> tuple[FileReference, ...]:
    """Return every file that haproxy certainly reads before it serves, in the order of the lines."""
    reader = _Reader()
    found = [reference for line in section_lines(lines) for reference in reader.take(line)]
    return tuple(reference for reference in found if _is_plain(reference.path, reader.relative))


def read_content(path: Path, only_open: bool = False) -> bytes | None:
    """Return the content of a file; None for a large one, or when it is only opened.

    Never blocks on a named pipe, and never reads a device.

    :raises OSError: it cannot be read, or is neither a file nor something that ends.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError:
        raise OSError(0, "its name holds a NUL byte") from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if stat.S_ISFIFO(status.st_mode):
            raise OSError(0, "it is a named pipe")
        if only_open or status.st_size > _LARGEST:
            return None
        if stat.S_ISCHR(status.st_mode):
            raise OSError(0, "it is a device")
        return file.read(_LARGEST)


def _is_plain(path: str, relative: bool) -> bool:
    # "@system-ca", "@store/name", "virt@x", "opt@x" name no file, or not for sure. Escapes can give bytes
    # that are not text.
    plain = path.isascii() and path.isprintable() and "@" not in path.partition("/")[0]
    return bool(path) and plain and (relative or path.startswith("/"))


class _Reader:
    def __init__(self) -> None:
        self.relative = True
        self._certificates = ""
        self._authorities = ""

    def take(self, line: SectionLine) -> Iterator[FileReference]:
        if line.head or line.section == "crt-store":
            return
        first = line.words[0]
        if line.section == "global":
            self._take_base(line)
            if first in _GLOBAL_FILES:
                yield from self._file(line, 1, _GLOBAL_FILES[first])
        if not line.certain:
            return
        if first == "bind":
            yield from self._parameters(line, 2, _BIND_FILES, BIND_PARAMETERS_WITH_VALUE)
        elif first in ("server", "server-template", "default-server"):
            start = {"server": 3, "server-template": 4, "default-server": 1}[first]
            yield from self._parameters(line, start, _SERVER_FILES, SERVER_PARAMETERS_WITH_VALUE)
        elif first == "errorfile":
            yield from self._file(line, 2, FileKind.TEXT)
        elif first not in _FREE_TEXT:
            yield from self._replies(line)
            yield from self._patterns(line)
            yield from self._maps(line)

    def _take_base(self, line: SectionLine) -> None:
        first = line.words[0]
        if first == "default-path" and line.known(1) != "current":
            self.relative = False
        elif first == "crt-base":
            self._certificates = line.known(1) if line.certain else "$"
        elif first == "ca-base":
            self._authorities = line.known(1) if line.certain else "$"

    def _file(
        self,
        line: SectionLine,
        position: int,
        kind: FileKind,
        keyword: str = "",
        base: str = "",
        directory: bool = False,
    ) -> Iterator[FileReference]:
        path = line.known(position)
        if not path or not line.certain or (base == "$" and not path.startswith("/")):
            return
        if base and not path.startswith(("/", "@")):
            path = f"{base}/{path}"
        yield FileReference(line.number, keyword or line.words[0], path, kind, directory)

    def _parameters(
        self,
        line: SectionLine,
        start: int,
        files: dict[str, tuple[FileKind, bool]],
        with_value: frozenset[str],
    ) -> Iterator[FileReference]:
        position = start
        while position < len(line.words):
            keyword = line.words[position]
            if keyword in files:
                kind, directory = files[keyword]
                base = self._base(keyword, kind)
                yield from self._file(line, position + 1, kind, keyword, base, directory)
            position += 2 if keyword in with_value else 1

    def _base(self, keyword: str, kind: FileKind) -> str:
        if kind is FileKind.AUTHORITY:
            return self._authorities
        # A list's own path does not start from there, those in it do (measured on 2.6).
        return self._certificates if kind is FileKind.CERTIFICATE else ""

    def _replies(self, line: SectionLine) -> Iterator[FileReference]:
        words = line.words
        if words[0] not in (*_RULES, "http-error") or not (words[0] == "http-error" or words[1:2]):
            return
        if words[0] in _RULES and words[1] not in _REPLIES:
            return
        position = 1
        while position < len(words) and words[position] not in ("if", "unless"):
            if words[position] in ("file", "lf-file", "errorfile"):
                yield from self._file(line, position + 1, FileKind.TEXT, words[position])
            position += 2 if words[position] in _REPLY_PARAMETERS else 1

    def _patterns(self, line: SectionLine) -> Iterator[FileReference]:
        words = line.words
        if words[0] == "acl":
            yield from self._flags(line, 3)
        for position, word in enumerate(words):
            if word in _OPENING:
                yield from self._flags(line, position + 2)

    def _flags(self, line: SectionLine, position: int) -> Iterator[FileReference]:
        words = line.words
        while position < len(words) and words[position] in ("-i", "-n", "-M", "-f", "-m", "-u"):
            if words[position] == "-f":
                yield from self._file(line, position + 1, FileKind.TEXT, "-f")
            position += 2 if words[position] in ("-f", "-m", "-u") else 1

    def _maps(self, line: SectionLine) -> Iterator[FileReference]:
        for position, word in enumerate(line.words):
            if position in line.line.variables or "map" not in word:
                continue
            for expression in _expressions(line, position):
                for match in _MAP.finditer(expression):
                    if expression[match.start() - 1 : match.start()] == ",":
                        keyword = match[0].partition("(")[0]
                        yield FileReference(line.number, keyword, match[1], FileKind.TEXT)


def _expressions(line: SectionLine, position: int) -> Iterator[str]:
    """Yield the sample expressions of a word; free text has none."""
    words = line.words
    before = words[position - 1]
    criterion = position == 2 if words[0] == "acl" else before in _OPENING
    if criterion or (position == 2 and before.startswith(_TAKING_EXPRESSIONS)):
        if _PLAIN_EXPRESSION.fullmatch(words[position]):
            yield words[position]
    elif words[0] != "acl" and before not in _BEFORE_TEXT and not _is_pattern(words, position):
        yield from (match[1] for match in _EXPRESSION.finditer(words[position]))


def _is_pattern(words: Sequence[str], position: int) -> bool:
    """Whether a word is between braces, where it is compared literally."""
    before = words[:position]
    return sum(word in _OPENING for word in before) > before.count("}")
