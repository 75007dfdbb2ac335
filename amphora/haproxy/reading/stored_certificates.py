# SPDX-License-Identifier: Apache-2.0
"""The certificates that a bind line is to serve, as they are stored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from amphora.haproxy.preflight.file_checks import read_list
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.certificates import certificate_files, fingerprint, leaf, loading_rules
from amphora.haproxy.reading.configuration import Configuration
from amphora.haproxy.reading.contents import read_content
from amphora.haproxy.reading.references import FileKind, FileReference, referenced_files
from amphora.haproxy.reading.section_lines import global_values

#: That a client may ask for (RFC 6066, section 3): no address, no blanks.
_NAME = re.compile(r"(?=.*[A-Za-z])(?:\*\.)?[\w-]+(?:\.[\w-]+)*", re.ASCII)
#: haproxy makes certificates of its own, or does not speak TLS first.
_INCOMPARABLE = ("generate-certificates", "ca-sign-file", "accept-netscaler-cip")


@dataclass(frozen=True, slots=True)
class StoredCertificates:
    """Certificates of one bind line, as SHA-256 in lower-case hexadecimal digits.

    :ivar default: one of these is served to a client that asks for no name.
    :ivar every: all of the line.
    :ivar name: one that the first of them is for, or None.
    """

    default: frozenset[str]
    every: frozenset[str]
    name: str | None = None


class CertificateIndex:
    """Reads what a configuration's bind lines serve. Each file is read once, when it is asked for.

    :param configuration: as it runs.
    """

    def __init__(self, configuration: Configuration) -> None:
        values = global_values(configuration.lines)
        self._rules = loading_rules(values)
        self._base = " ".join(values.get("crt-base", ()))
        self._leaves: dict[Path, x509.Certificate | None] = {}
        self._references: dict[int, list[FileReference]] = {}
        for reference in referenced_files(configuration.lines):
            self._references.setdefault(reference.line, []).append(reference)

    def of(self, bind: Bind) -> StoredCertificates | None:
        """Return what a bind line serves, or None where only haproxy can tell.

        :raises OSError: a file cannot be read.
        """
        references = self._references.get(bind.line, [])
        known = {reference.path for reference in references}
        if not bind.keywords.isdisjoint(_INCOMPARABLE) or any(
            name not in known and name != "@system-ca" for name in bind.files
        ):
            return None
        # Newer versions have a parameter of their own for the default, wherever it stands.
        references.sort(key=lambda reference: reference.keyword != "default-crt")
        groups = [files for reference in references for files in self._groups(reference)]
        leaves = [[self._leaf(file) for file in files] for files in groups]
        if not leaves or not leaves[0] or any(found is None for group in leaves for found in group):
            return None
        certificates = [[found for found in group if found] for group in leaves]
        every = frozenset(fingerprint(found) for group in certificates for found in group)
        first = frozenset(fingerprint(found) for found in certificates[0])
        return StoredCertificates(first, every, _a_name(certificates[0][0]))

    def _leaf(self, file: Path) -> x509.Certificate | None:
        # Hundreds of lines may serve the same one.
        if file not in self._leaves:
            self._leaves[file] = leaf(read_content(file) or b"")
        return self._leaves[file]

    def _groups(self, reference: FileReference) -> Iterator[tuple[Path, ...]]:
        """Yield the files of each certificate, of which a bundle has several."""
        if reference.kind is FileKind.CERTIFICATE:
            path = Path("/") / reference.path
            files = certificate_files(path, self._rules)
            if path.is_dir():
                yield from ((file,) for file in files)
            else:
                yield files
        elif reference.kind is FileKind.CERTIFICATE_LIST:
            for entry in read_list(Path("/") / reference.path):
                relative = self._base and not entry.path.startswith("/")
                path = Path("/") / (f"{self._base}/{entry.path}" if relative else entry.path)
                yield certificate_files(path, self._rules)


def _a_name(certificate: x509.Certificate) -> str | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        names = []
    # haproxy takes the common name for one as well (measured on 2.6).
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names += [str(attribute.value) for attribute in common]
    names = [name for name in names if _NAME.fullmatch(name)]
    return names[0].replace("*", "www", 1) if names else None
