# SPDX-License-Identifier: Apache-2.0
"""The certificate files of a bind, and the certificate that clients are to see of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from amphora.core.pem import names_of
from amphora.haproxy.preflight.file_checks import parse_list
from amphora.haproxy.reading.binds import Bind
from amphora.haproxy.reading.contents import read_content
from amphora.system import files

_CERTIFICATE, _KEY = b"-----BEGIN CERTIFICATE-----", b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file with a certificate and its key.

    :ivar fingerprint: SHA-256 of the certificate, hexadecimal.
    :ivar names: it is good for, wildcards included.
    :ivar modified: seconds since the epoch.
    """

    path: Path
    fingerprint: str
    names: tuple[str, ...]
    modified: float

    @staticmethod
    def fingerprint_of(certificate: bytes) -> str:
        """Return the fingerprint of a certificate in DER."""
        return hashlib.sha256(certificate).hexdigest()

    @property
    def server_name(self) -> str:
        """A name to ask for, so that this certificate is shown; empty where it has none."""
        usable = (name for name in self.names if "." in name and name.isascii() and " " not in name)
        return next(usable, "").replace("*.", "any.", 1)

    def explains(self, shown: str, all_files: Sequence[ServedFile]) -> bool:
        """Whether a certificate that was shown for this file's name is one that may be.

        Of several files for one name, as with keys of two kinds, haproxy shows one.
        """
        same_name = (each for each in all_files if set(each.names) & set(self.names) or not self.names)
        return shown == self.fingerprint or shown in {each.fingerprint for each in same_name}


def referenced_files(bind: Bind) -> Iterator[Path]:
    """Yield every file that a bind line names, and every one that a list of certificates names."""
    for name in bind.files:
        if name.startswith("@"):
            continue
        path = Path(name)
        if path.is_dir():
            # haproxy passes over these two itself, and takes the rest as certificates.
            yield from (
                path / each
                for each in files.file_names(path)
                if not each.startswith(".") and not each.endswith((".issuer", ".ocsp", ".sctl", ".key"))
            )
            continue
        yield path
        yield from _listed(path)


def served_files(bind: Bind) -> list[ServedFile]:
    """Return the certificates with keys among a bind's files; authorities and lists are none."""
    found = (_read(path) for path in dict.fromkeys(referenced_files(bind)))
    return [each for each in found if each is not None]


def _listed(path: Path) -> Iterator[Path]:
    data = _content(path)
    if not data or b"-----BEGIN " in data:
        return
    for entry in parse_list(data.decode("utf-8", "replace")):
        if entry.path.startswith("/"):
            yield Path(entry.path)


def _read(path: Path) -> ServedFile | None:
    data = _content(path)
    if not data or _CERTIFICATE not in data or _KEY not in data:
        return None
    try:
        certificate = x509.load_pem_x509_certificates(data)[0]
        modified = path.stat().st_mtime
    except (ValueError, OSError):
        return None
    der = certificate.public_bytes(Encoding.DER)
    return ServedFile(path, ServedFile.fingerprint_of(der), names_of(certificate), modified)


def _content(path: Path) -> bytes | None:
    try:
        return read_content(path)
    except (OSError, ValueError):  # The latter for a name with a NUL, which a damaged list may hold.
        return None
