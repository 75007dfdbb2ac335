# SPDX-License-Identifier: Apache-2.0
"""Finds files of a configuration that haproxy could not use.

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
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from amphora.haproxy.preflight.findings import Finding, Severity
from amphora.haproxy.reading.certificates import (
    authorities_problem,
    certificate_files,
    leaf,
    loading_rules,
    pair_problem,
    read_list,
    validity_problem,
)
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.references import (
    WORKING_DIRECTORY,
    FileKind,
    FileReference,
    read_content,
    referenced_files,
)
from amphora.haproxy.reading.section_lines import global_lines, global_values

_MOST_FINDINGS = 100


def file_findings(
    configuration: Configuration, now: datetime, *, time_limit: float = 5.0
) -> tuple[Finding, ...]:
    """Return what is wrong with the files that a configuration names. Safe to repeat.

    An empty answer is no promise: what only haproxy can know is skipped.

    :param now: with a time zone; expired certificates are findings that only advise.
    :param time_limit: seconds; what is left then is skipped.
    """
    checker = _Checker(configuration, now, time.monotonic() + time_limit)
    return tuple(itertools.islice(checker.findings(), _MOST_FINDINGS))


class _Checker:
    def __init__(self, configuration: Configuration, now: datetime, deadline: float) -> None:
        self._lines = configuration.lines
        self._references = referenced_files(configuration.lines)
        self._rules = loading_rules(global_values(configuration.lines))
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
        """Yield why workers would fail at ``chroot``, and the master with them; not by ``haproxy -c``."""
        line = next((line for line in global_lines(self._lines) if line.words[0] == "chroot"), None)
        if line is None or not line.certain or not (path := line.known(1)):
            return
        try:
            reason = "" if stat.S_ISDIR(os.stat(WORKING_DIRECTORY / path).st_mode) else "it is no directory"
        except OSError as error:
            reason = _reason_of(error)
        if reason:
            yield Finding(line.number, f"chroot {path}", reason, Severity.REFUSES_START)

    def _reference_findings(self, reference: FileReference, subject: str) -> Iterator[Finding]:
        key = (reference.path, reference.kind)
        if key not in self._seen:
            self._seen[key] = tuple(self._problems(reference))
        for reason, severity in self._seen[key]:
            yield Finding(reference.line, subject, reason, severity)
        if reference.kind is FileKind.CERTIFICATE_LIST and not self._seen[key]:
            yield from self._list_findings(reference)

    def _problems(self, reference: FileReference) -> Iterator[tuple[str, Severity]]:
        path = reference.location
        try:
            if reference.kind is FileKind.CERTIFICATE:
                yield from self._certificate_problems(path, reference.may_be_directory)
            elif reason := self._reason(path, reference):
                yield reason, Severity.REFUSES
        except OSError as error:
            yield _reason_of(error), Severity.REFUSES

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
        entries = read_list(reference.location)
        if not entries:
            yield Finding(reference.line, f"crt-list {reference.path}", "it names no certificate")
        for entry in entries:
            if time.monotonic() > self._deadline:
                return
            named = [("crt", entry.path, FileKind.CERTIFICATE, self._rules.certificate_base)]
            authorities = self._rules.authority_base
            named += [(keyword, path, FileKind.AUTHORITY, authorities) for keyword, path in entry.files]
            for keyword, path, kind, base in named:
                joined = self._rules.listed(path, base)
                if joined is None:
                    continue
                inner = replace(reference, keyword=keyword, path=joined, kind=kind)
                inner = replace(inner, may_be_directory=kind is FileKind.AUTHORITY)
                subject = f"crt-list {reference.path}: line {entry.number}: {keyword} {joined}"
                yield from self._reference_findings(inner, subject)


def _reason_of(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, PermissionError):
        return "it cannot be read: permission denied"
    return f"it cannot be read: {error.strerror}" if error.errno else str(error.strerror)
