# SPDX-License-Identifier: Apache-2.0
"""The certificates that a bind line serves, as they are stored, and the files that they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.certificates import (
    LoadingRules,
    certificate_files,
    fingerprint,
    has_key,
    leaf,
    loading_rules,
    names_of,
    read_list,
    server_name,
)
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.references import (
    WORKING_DIRECTORY,
    FileKind,
    FileReference,
    read_content,
    referenced_files,
)
from amphora.haproxy.reading.section_lines import global_values

#: haproxy makes certificates of its own, or does not speak TLS first.
_INCOMPARABLE = ("generate-certificates", "ca-sign-file", "accept-netscaler-cip")

_CERTIFICATES = (FileKind.CERTIFICATE, FileKind.CERTIFICATE_LIST)


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """A certificate and the file that holds it.

    :ivar fingerprint: SHA-256, as lower-case hexadecimal digits.
    :ivar names: it is good for, wildcards included.
    :ivar modified: seconds since the epoch.
    :ivar key: the file with its key.
    """

    path: Path
    fingerprint: str
    names: tuple[str, ...]
    modified: float
    key: Path

    @property
    def server_name(self) -> str | None:
        """A name to ask for to be shown this certificate, or None if it has none."""
        return server_name(self.names)

    def explains(self, shown: str, others: Sequence[ServedCertificate]) -> bool:
        """Whether a certificate that was shown for this one's name is one that may be.

        Of several certificates for one name, as with keys of two kinds, haproxy shows one.
        """
        same_name = (each for each in others if set(each.names) & set(self.names) or not self.names)
        return shown == self.fingerprint or shown in {each.fingerprint for each in same_name}


@dataclass(frozen=True, slots=True)
class BindCertificates:
    """Certificates of one bind line, as SHA-256 in lower-case hexadecimal digits.

    :ivar default: one of these is served to a client that asks for no name.
    :ivar every: all of the line.
    :ivar name: one that the first of them is for, or None.
    """

    default: frozenset[str]
    every: frozenset[str]
    name: str | None = None


def certificate_paths(reference: FileReference, rules: LoadingRules) -> Iterator[Path | None]:
    """Yield the paths of certificates that a reference or its list names; None where only haproxy knows one.

    :raises OSError: a list cannot be read.
    """
    if reference.kind is FileKind.CERTIFICATE:
        yield reference.location
    elif reference.kind is FileKind.CERTIFICATE_LIST:
        for entry in read_list(reference.location):
            path = rules.listed(entry.path, rules.certificate_base)
            yield None if path is None else WORKING_DIRECTORY / path


class CertificateIndex:
    """Reads what a configuration's bind lines serve. Each file is read once, when it is asked for.

    :param configuration: as it runs.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._rules = loading_rules(global_values(configuration.lines))
        self._certificates: dict[Path, ServedCertificate | None] = {}
        self._references: dict[int, list[FileReference]] = {}
        for reference in referenced_files(configuration.lines):
            self._references.setdefault(reference.line, []).append(reference)
        for references in self._references.values():
            # Newer versions have a parameter of their own for the default, in any position.
            references.sort(key=lambda reference: reference.keyword != "default-crt")

    def of(self, bind: Bind) -> BindCertificates | None:
        """Return what a bind line serves, or None if only haproxy knows.

        :raises OSError: a file cannot be read.
        """
        references = self._references.get(bind.line, [])
        known = sum(reference.kind in _CERTIFICATES for reference in references)
        if not bind.keywords.isdisjoint(_INCOMPARABLE) or known != bind.certificates:
            return None
        paths = [path for each in references for path in certificate_paths(each, self._rules)]
        files = [group for path in paths for group in self._groups(path)]
        groups = [[self._certificate(file) for file in group] for group in files]
        certificates = [[found for found in group if found] for group in groups]
        if not groups or not groups[0] or certificates != groups:
            return None
        every = frozenset(found.fingerprint for group in certificates for found in group)
        first = frozenset(found.fingerprint for found in certificates[0])
        return BindCertificates(first, every, certificates[0][0].server_name)

    def served(self, bind: Bind) -> list[ServedCertificate]:
        """Return the certificates of a bind line that can be read."""
        found = []
        for file in dict.fromkeys(file for path in self._paths(bind) for file in self._files(path)):
            with suppress(OSError):
                found.append(self._certificate(file))
        return [each for each in found if each is not None]

    def files(self, bind: Bind) -> list[Path]:
        """Return every file that a bind line reads certificates, keys, lists and authorities from.

        One that is missing is among them, as far as it is known.
        """
        found: dict[Path, None] = {}
        for path in [*self.named(bind), *self._paths(bind)]:
            files = self._files(path)
            found |= dict.fromkeys(files if files or path.is_dir() else (path,))
        return list(found | dict.fromkeys(each.key for each in self.served(bind)))

    def named(self, bind: Bind) -> list[Path]:
        """Return the files and directories that a bind line itself names for certificates and authorities."""
        kinds = (*_CERTIFICATES, FileKind.AUTHORITY)
        return [each.location for each in self._references.get(bind.line, []) if each.kind in kinds]

    def _paths(self, bind: Bind) -> list[Path]:
        found: list[Path | None] = []
        for reference in self._references.get(bind.line, []):
            with suppress(OSError):
                found.extend(certificate_paths(reference, self._rules))
        return [path for path in found if path is not None]

    def _files(self, path: Path) -> tuple[Path, ...]:
        try:
            return certificate_files(path, self._rules)
        except OSError:
            return ()

    def _groups(self, path: Path | None) -> list[tuple[Path, ...]]:
        """Return the files of each certificate at a path, of which a bundle has several."""
        found = () if path is None else certificate_files(path, self._rules)
        return [(file,) for file in found] if path and path.is_dir() else [found]

    def _certificate(self, file: Path) -> ServedCertificate | None:
        # Hundreds of lines may serve the same one.
        if file not in self._certificates:
            data = read_content(file) or b""
            found = leaf(data)
            key, modified = file if has_key(data) else self._rules.key_beside(file), file.stat().st_mtime
            self._certificates[file] = (
                None
                if found is None
                else ServedCertificate(file, fingerprint(found), names_of(found), modified, key)
            )
        return self._certificates[file]
