# SPDX-License-Identifier: Apache-2.0
"""Finds out which files of a configuration haproxy could not use.

haproxy reads all of them before it gives up root and before ``chroot``, the master as much as each
worker at its start (measured on 2.6), and runs as the agent's own user until then: a file that this
process can read is one that haproxy can read. ``haproxy -c`` finds most of it too, under other names, and
hangs for ever at a named pipe and at a directory in a list of certificates (measured).
"""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from amphora.haproxy.preflight.findings import Finding, Severity
from amphora.haproxy.reading.certificates import (
    LoadingRules,
    authorities_problem,
    certificate_files,
    leaf,
    loading_rules,
    pair_problem,
    validity_problem,
)
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.contents import read_content
from amphora.haproxy.reading.references import FileKind, FileReference, referenced_files
from amphora.haproxy.reading.section_lines import global_values, placed

_MOST_FINDINGS = 100
#: haproxy starts relative names from its working directory.
_WORKING_DIRECTORY = Path("/")


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One line of a list of certificates.

    :ivar files: keyword and path of the files that its options name.
    """

    number: int
    path: str
    files: tuple[tuple[str, str], ...] = ()
    filters: tuple[str, ...] = ()


def file_findings(
    configuration: Configuration, now: datetime, *, time_limit: float = 5.0
) -> tuple[Finding, ...]:
    """Return what is wrong with the files that a configuration names. Safe to repeat.

    An empty answer is no promise: what only haproxy can know is passed over.

    :param now: with a time zone; expired certificates are findings that only advise.
    :param time_limit: seconds; what is left then is passed over.
    """
    checker = _Checker(configuration, now, time.monotonic() + time_limit)
    return tuple(itertools.islice(checker.findings(), _MOST_FINDINGS))


def parse_list(text: str) -> Iterator[ListEntry]:
    """Yield the entries of a list of certificates (``crt-list``); odd text never raises."""
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        before, bracket, rest = line.partition("[")
        options, _, after = rest.partition("]") if bracket else ("", "", "")
        words = before.split()
        if words:
            filters = (*words[1:], *after.split())
            plain = tuple(itertools.takewhile(lambda word: not word.startswith("#"), filters))
            yield ListEntry(number, words[0], _option_files(options.split()), plain)


def read_list(path: Path) -> tuple[ListEntry, ...]:
    """Return the entries of a list of certificates; none where it is no regular file.

    :raises OSError: it cannot be read.
    """
    return tuple(parse_list((read_content(path) or b"").decode("utf-8", "replace")))


def _option_files(words: list[str]) -> tuple[tuple[str, str], ...]:
    pairs = itertools.pairwise(words)
    return tuple(pair for pair in pairs if pair[0] in ("ca-file", "ca-verify-file", "crl-file"))


class _Checker:
    def __init__(self, configuration: Configuration, now: datetime, deadline: float) -> None:
        self._lines = configuration.lines
        self._references = referenced_files(configuration.lines)
        values = global_values(configuration.lines)
        self._rules: LoadingRules = loading_rules(values)
        self._bases = {name: " ".join(values.get(name, ())) for name in ("crt-base", "ca-base")}
        self._now = now
        self._deadline = deadline
        self._seen: dict[tuple[str, FileKind], tuple[tuple[str, Severity], ...]] = {}

    def findings(self) -> Iterator[Finding]:
        for reference in self._references:
            if time.monotonic() > self._deadline:
                return
            yield from self._reference_findings(reference, f"{reference.keyword} {reference.path}")
        yield from self._chroot_findings()

    def _chroot_findings(self) -> Iterator[Finding]:
        """Yield why workers would end at ``chroot``, and the master with them; ``haproxy -c`` never tries."""
        inside = (place for place in placed(self._lines) if place.section == "global")
        place = next((place for place in inside if place.words[0] == "chroot"), None)
        if place is None or not place.certain or not (path := place.known(1)):
            return
        try:
            reason = "" if stat.S_ISDIR(os.stat(_WORKING_DIRECTORY / path).st_mode) else "it is no directory"
        except OSError as error:
            reason = _spoken(error)
        if reason:
            yield Finding(place.line.number, f"chroot {path}", reason, Severity.REFUSES_START)

    def _reference_findings(self, reference: FileReference, subject: str) -> Iterator[Finding]:
        key = (reference.path, reference.kind)
        if key not in self._seen:
            self._seen[key] = tuple(self._problems(reference))
        for reason, severity in self._seen[key]:
            yield Finding(reference.line, subject, reason, severity)
        if reference.kind is FileKind.CERTIFICATE_LIST and not self._seen[key]:
            yield from self._list_findings(reference)

    def _problems(self, reference: FileReference) -> Iterator[tuple[str, Severity]]:
        path = _WORKING_DIRECTORY / reference.path
        try:
            if reference.kind is FileKind.CERTIFICATE:
                yield from self._certificate_problems(path, reference.may_be_directory)
            elif reason := self._reason(path, reference):
                yield reason, Severity.REFUSES
        except OSError as error:
            yield _spoken(error), Severity.REFUSES

    def _reason(self, path: Path, reference: FileReference) -> str | None:
        if path.is_dir():
            return None if reference.may_be_directory else "it is a directory"
        data = read_content(path, only_open=reference.kind is FileKind.TEXT)
        if data is None:
            return None
        if not data:
            return "it is empty"
        return authorities_problem(data) if reference.kind is FileKind.AUTHORITY else None

    def _certificate_problems(self, path: Path, may_be_directory: bool) -> Iterator[tuple[str, Severity]]:
        if path.is_dir() and not may_be_directory:
            yield "it is a directory", Severity.REFUSES
            return
        files = certificate_files(path, self._rules)
        if not files and not path.is_dir():
            yield "it does not exist", Severity.REFUSES
        for file in files:
            prefix = "" if file == path else f"{file.name}: "
            data = read_content(file)
            if data is None:
                continue
            if reason := "it is empty" if not data else pair_problem(data, file, self._rules):
                yield prefix + reason, Severity.REFUSES
            elif (certificate := leaf(data)) and (reason := validity_problem(certificate, self._now)):
                yield prefix + reason, Severity.ADVISES

    def _list_findings(self, reference: FileReference) -> Iterator[Finding]:
        entries = read_list(_WORKING_DIRECTORY / reference.path)
        if not entries:
            yield Finding(reference.line, f"crt-list {reference.path}", "it names no certificate")
        for entry in entries:
            if time.monotonic() > self._deadline:
                return
            named = [("crt", entry.path, FileKind.CERTIFICATE, "crt-base")]
            named += [(keyword, path, FileKind.AUTHORITY, "ca-base") for keyword, path in entry.files]
            for keyword, path, kind, base in named:
                joined = self._join(base, path)
                if joined is None:
                    continue
                inner = replace(reference, keyword=keyword, path=joined, kind=kind)
                inner = replace(inner, may_be_directory=kind is FileKind.AUTHORITY)
                subject = f"crt-list {reference.path}: line {entry.number}: {keyword} {joined}"
                yield from self._reference_findings(inner, subject)

    def _join(self, base: str, path: str) -> str | None:
        """Return a list's file as haproxy opens it; None where only haproxy knows."""
        start = self._bases[base]
        if not (path.isascii() and path.isprintable()) or path.startswith("@"):
            return None
        if path.startswith("/"):
            return path
        if "$" in path or "$" in start or "\\" in path:
            return None
        return f"{start}/{path}" if start else path


def _spoken(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError):
        return "it cannot be read: permission denied"
    return f"it cannot be read: {error.strerror}" if error.errno else str(error.strerror)
