# SPDX-License-Identifier: Apache-2.0
"""Certificate files as haproxy reads them: the first key, the first certificate, then its chain; and lists.

Nothing of a key is ever put into a message. haproxy's parser may read what this one cannot: only what is
certainly wrong is reported.
"""

from __future__ import annotations

import itertools
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization

from amphora.haproxy.reading.references import read_content

_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>[A-Z0-9 ]+)-----[ \t]*\r?\n.*?-----END (?P=label)-----", re.DOTALL
)
_CERTIFICATE_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")
_LIST_LABEL = b"X509 CRL"
_ENCRYPTED = (b"ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED")
#: Endings of files in a directory that haproxy reads beside another one only.
_EXTRA_ENDINGS = (".issuer", ".ocsp", ".sctl", ".key")
BUNDLE_ENDINGS = (".rsa", ".ecdsa", ".dsa")
#: What a client may ask for (RFC 6066, section 3): neither an address nor a name with blanks.
_SERVER_NAME = re.compile(r"(?=.*[A-Za-z])(?:\*\.)?[\w-]+(?:\.[\w-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class LoadingRules:
    """Where haproxy looks for certificates (``ssl-load-extra-files``, ``crt-base``, ``ca-base``).

    :ivar key: in a file with the key, beside the certificate.
    :ivar bundle: in files of the same name for several kinds of keys, if there is none of that name.
    :ivar cut_ending: the key's file has ``.key`` for the ending rather than after it.
    :ivar certificate_base: directory of relative names in lists; or empty.
    :ivar authority_base: the same for authorities and revocation lists.
    """

    key: bool = True
    bundle: bool = True
    cut_ending: bool = False
    certificate_base: str = ""
    authority_base: str = ""

    def listed(self, path: str, base: str) -> str | None:
        """Return a path from a list of certificates as haproxy opens it; None if only haproxy knows."""
        if not (path.isascii() and path.isprintable()) or path.startswith("@"):
            return None
        if path.startswith("/"):
            return path
        if "$" in path or "$" in base or "\\" in path:
            return None
        return f"{base}/{path}" if base else path

    def key_beside(self, path: Path) -> Path:
        """Return where the key of a certificate file is looked for if it is not in that file."""
        cut = self.cut_ending and path.suffix == ".crt"
        return path.with_suffix(".key") if cut else path.with_name(path.name + ".key")


def loading_rules(values: dict[str, tuple[str, ...]]) -> LoadingRules:
    """Return the rules that the ``global`` sections set (:func:`section_lines.global_values`)."""
    kinds = values.get("ssl-load-extra-files", ("all",))
    return LoadingRules(
        key=not {"all", "key"}.isdisjoint(kinds),
        bundle=not {"all", "bundle"}.isdisjoint(kinds),
        cut_ending="ssl-load-extra-del-ext" in values,
        certificate_base=" ".join(values.get("crt-base", ())),
        authority_base=" ".join(values.get("ca-base", ())),
    )


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One line of a list of certificates.

    :ivar files: keyword and path of the files that its options name.
    """

    number: int
    path: str
    files: tuple[tuple[str, str], ...] = ()
    filters: tuple[str, ...] = ()


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
            pairs = itertools.pairwise(options.split())
            files = tuple(pair for pair in pairs if pair[0] in ("ca-file", "ca-verify-file", "crl-file"))
            yield ListEntry(number, words[0], files, plain)


def read_list(path: Path) -> tuple[ListEntry, ...]:
    """Return the entries of a list of certificates; none if it is not a regular file.

    :raises OSError: it cannot be read.
    """
    return tuple(parse_list((read_content(path) or b"").decode("utf-8", "replace")))


def certificate_files(path: Path, rules: LoadingRules) -> tuple[Path, ...]:
    """Return the files that haproxy loads for one ``crt``: itself, a directory's, or a bundle's.

    Empty when there is none. The first is the default of its bind line.

    :raises OSError: they cannot be listed.
    """
    if path.is_dir():
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        return tuple(path / name for name in names if name[0] != "." and not name.endswith(_EXTRA_ENDINGS))
    if path.exists() or not rules.bundle:
        return (path,) if path.exists() else ()
    bundle = (path.with_name(path.name + ending) for ending in BUNDLE_ENDINGS)
    return tuple(file for file in bundle if file.exists())


def pair_problem(data: bytes, path: Path, rules: LoadingRules) -> str | None:
    """Return why haproxy could not serve with a certificate file, or None if nothing is certainly wrong.

    :param data: the file's content.
    :param path: where it is, as the key may be in a file beside it.
    """
    blocks = _blocks(data)
    if (first := _first_certificate(blocks)) is None:
        return "it holds no certificate"
    if problem := certificate_problem(first):
        return problem
    own = _first_key(blocks)
    key = own if own is not None and not _is_encrypted(own) else None
    if key is None and rules.key:
        key = _key_beside(path, rules)
    if key is not None:
        return _match_problem(first, key)
    return "its private key is encrypted" if own else "it holds no private key, nor is one beside it"


def certificate_problem(block: bytes) -> str | None:
    """Return why a certificate cannot be read, or None; two parsers must fail."""
    try:
        x509.load_pem_x509_certificate(block)
    except ValueError:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=block.decode("ascii", "ignore"))
        except (ssl.SSLError, ValueError):
            return "its certificate cannot be read"
    return None


def authorities_problem(data: bytes) -> str | None:
    """Return why a file has neither authorities nor revocations, or None."""
    if {label for label, _ in _blocks(data)}.isdisjoint({*_CERTIFICATE_LABELS, _LIST_LABEL}):
        return "it holds neither a certificate nor a revocation list"
    return None


def leaf(data: bytes) -> x509.Certificate | None:
    """Return the certificate that is served from a file, or None if it cannot be read."""
    first = _first_certificate(_blocks(data))
    try:
        return None if first is None else x509.load_pem_x509_certificate(first)
    except ValueError:
        return None


def has_key(data: bytes) -> bool:
    """Whether a file holds a private key."""
    return _first_key(_blocks(data)) is not None


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names that haproxy serves a certificate for: common names and DNS names, each once.

    A common name counts beside DNS names (measured on 2.6).
    """
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    names = [attribute.value for attribute in common if isinstance(attribute.value, str)]
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names += extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, ValueError):
        pass
    return tuple(dict.fromkeys(names))


def server_name(names: Sequence[str]) -> str | None:
    """Return a name that a client asks for to be shown a certificate with these names; None without any."""
    usable = (name for name in names if _SERVER_NAME.fullmatch(name))
    # Hardly another certificate is for this very name, as it could be for "www".
    return next((name.replace("*", "any", 1) for name in usable), None)


def fingerprint(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate, as lower-case hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def validity_problem(certificate: x509.Certificate, now: datetime) -> str | None:
    """Return why clients would reject a certificate at a time (with a time zone), or None."""
    begins, ends = _utc(certificate, "not_valid_before"), _utc(certificate, "not_valid_after")
    if now > ends:
        return f"its certificate has expired on {ends:%Y-%m-%d %H:%M} UTC"
    if now < begins:
        return f"its certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC"
    return None


def _utc(certificate: x509.Certificate, name: str) -> datetime:
    # Releases before 42 have only the form without a time zone, which newer ones warn of.
    aware: datetime | None = getattr(certificate, f"{name}_utc", None)
    naive: datetime = aware or getattr(certificate, name)
    return naive.replace(tzinfo=UTC)


def _blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    return [(match["label"], match[0] + b"\n") for match in _BLOCK.finditer(data)]


def _first_certificate(blocks: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    return next((block for label, block in blocks if label in _CERTIFICATE_LABELS), None)


def _first_key(blocks: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    return next((block for label, block in blocks if label.endswith(b"PRIVATE KEY")), None)


def _is_encrypted(key: bytes) -> bool:
    return any(mark in key for mark in _ENCRYPTED)


def _key_beside(path: Path, rules: LoadingRules) -> bytes | None:
    try:
        key = _first_key(_blocks(read_content(rules.key_beside(path)) or b""))
    except OSError:
        return None
    return None if key is None or _is_encrypted(key) else key


def _match_problem(certificate: bytes, key: bytes) -> str | None:
    try:
        public = serialization.load_pem_private_key(key, None).public_key()
        wanted = x509.load_pem_x509_certificate(certificate).public_key()
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        same = public.public_bytes(*form) == wanted.public_bytes(*form)
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None
    return None if same else "its certificate and private key do not belong together"
