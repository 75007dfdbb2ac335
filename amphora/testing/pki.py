# SPDX-License-Identifier: Apache-2.0
"""A throw-away certificate authority for tests: real files, real chains, nothing patched."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KeyKind = Literal["rsa", "ec"]
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Credential:
    """A certificate and its key.

    :ivar path: one PEM file, certificate first, then the key.
    """

    path: Path
    certificate_pem: bytes
    key_pem: bytes


class Pki:
    """One certificate authority and what it has signed, as PEM files in a directory.

    :param key: kind of all keys; EC keys are made in a millisecond, RSA-2048 is what controllers use.
    """

    def __init__(self, directory: Path, name: str = "test CA", key: KeyKind = "ec") -> None:
        self._directory = directory
        self._kind: KeyKind = key
        self._key = _new_key(key)
        self._serial = 0
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usage = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._subject, self._key).add_extension(usage, critical=True)
        self.ca_pem = _pem(certificate.sign(self._key, hashes.SHA256()))
        self.ca_path = self._write(f"{name.replace(' ', '-')}.pem", self.ca_pem)

    def server(self, *names: str, file_name: str = "server.pem", key: KeyKind | None = None) -> Credential:
        """Sign a server certificate; each name may be a DNS name or an IP address."""
        return self._issue(names or ("127.0.0.1", "::1", "localhost"), file_name, key, server=True)

    def client(self, *names: str, file_name: str = "client.pem", key: KeyKind | None = None) -> Credential:
        """Sign a client certificate; the first name is the common name, all are alternative names."""
        return self._issue(names or ("controller",), file_name, key, server=False)

    def revocation_list(self, *revoked: Credential) -> bytes:
        """Sign a list of revoked certificates, as PEM (RFC 5280 section 5)."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._subject)
            .last_update(now - datetime.timedelta(days=1))
            .next_update(now + datetime.timedelta(days=30))
        )
        for credential in revoked:
            serial = x509.load_pem_x509_certificate(credential.certificate_pem).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def client_context(
        self, credential: Credential | None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Make a client's context that trusts this CA.

        :param credential: presented to the server, or None.
        :param version: the only version spoken, or None for any.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=self.ca_path)
        if credential is not None:
            context.load_cert_chain(credential.path)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    def _issue(self, names: Sequence[str], file_name: str, kind: KeyKind | None, server: bool) -> Credential:
        key = _new_key(kind or self._kind)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        certificate = (
            self._builder(subject, key)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
            )
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        certificate_pem = _pem(certificate)
        key_pem = _key_pem(key)
        path = self._write(file_name, certificate_pem + key_pem)
        return Credential(path, certificate_pem, key_pem)

    def _builder(self, subject: x509.Name, key: PrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        self._serial += 1
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(self._serial)
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )

    def _write(self, name: str, content: bytes) -> Path:
        path = self._directory / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path


def encrypted_key_pem(key_pem: bytes, passphrase: bytes) -> bytes:
    """Protect a key by a passphrase."""
    key = serialization.load_pem_private_key(key_pem, None)
    encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def _new_key(kind: KeyKind) -> PrivateKey:
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
