# SPDX-License-Identifier: Apache-2.0
"""The server's side of mutual TLS: certificates, versions and ciphers."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amphora.errors import ConfigurationError

#: TLS 1.2 with forward secrecy and authenticated encryption only; all TLS 1.3 suites are of that kind.
_TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


def build_context(
    certificate: Path,
    client_ca: Path,
    minimum_version: ssl.TLSVersion,
    require_client_certificate: bool = True,
) -> ssl.SSLContext:
    """Read the server's certificate and the clients' CA into a new context; may be repeated.

    :param certificate: PEM file with the server's certificate, its private key without passphrase and
        any intermediate certificates; key first or certificate first, but the server's certificate
        before the intermediate ones.
    :param client_ca: PEM file with the certificate authorities that sign client certificates.
    :param minimum_version: TLS 1.2 or newer; anything older is raised to TLS 1.2.
    :param require_client_certificate: if False, a client may present no certificate; one that it does present
        is still verified.
    :raises ConfigurationError: the file and what is wrong with it; never key material.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = max(minimum_version, ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(_TLS12_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # TLS 1.3 tickets cost two signatures' worth of bytes per handshake and no controller resumes
    # sessions. TLS 1.2 tickets stay: without them OpenSSL keeps each session in this process's memory.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_OPTIONAL
    _load_certificate(context, certificate)
    _load_client_ca(context, client_ca)
    return context


def peer_names(certificate: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Return the names in a verified peer certificate: common names, then DNS names, each once.

    :param certificate: as ``ssl.SSLSocket.getpeercert()`` returns it.
    :return: None if the peer presented no certificate.
    """
    if not certificate:
        return None
    common = [value for rdn in certificate.get("subject", ()) for key, value in rdn if key == "commonName"]
    dns = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    return tuple(dict.fromkeys([*common, *dns]))


def _load_certificate(context: ssl.SSLContext, path: Path) -> None:
    def refuse_passphrase() -> str:
        raise ConfigurationError(f"Server certificate file {path} holds a private key with a passphrase")

    try:
        # Without a callback OpenSSL would ask for a passphrase on the terminal.
        context.load_cert_chain(path, password=refuse_passphrase)
    except ssl.SSLError as error:
        raise ConfigurationError(
            f"Server certificate file {path} {_certificate_fault(path, error)}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"Server certificate file {path} cannot be read: {error.strerror}") from None


def _certificate_fault(path: Path, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "holds a private key that does not belong to its first certificate"
    content = path.read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in content:
        return "holds no PEM certificate"
    if b"PRIVATE KEY-----" not in content:
        return "holds no PEM private key"
    return f"cannot be used: {error.reason or 'its PEM data is malformed'}"


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        reason = error.reason or "its PEM data is malformed"
        if b"-----BEGIN CERTIFICATE-----" not in path.read_bytes():
            reason = "it holds no PEM certificate"
        raise ConfigurationError(f"Client CA file {path} cannot be used: {reason}") from None
    except OSError as error:
        raise ConfigurationError(f"Client CA file {path} cannot be read: {error.strerror}") from None
