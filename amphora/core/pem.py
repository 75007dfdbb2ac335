# SPDX-License-Identifier: Apache-2.0
"""Checks PEM data before it is stored (RFC 7468). Nothing of it is ever put into a message."""

from __future__ import annotations

import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from amphora.errors import CertificateMissing, KeyMismatch, PrivateKeyEncrypted, PrivateKeyMissing

_KEY_BLOCK = re.compile(
    rb"-----BEGIN (?P<label>(?:[A-Z]+ )*PRIVATE KEY)-----.*?-----END (?P=label)-----", re.DOTALL
)

PrivateKey = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)


def check_certificate_and_key(data: bytes) -> x509.Certificate:
    """Check that data holds a certificate and its unencrypted key, in any order, with or without chain.

    :returns: the first certificate, which is the one that is served.
    :raises CertificateMissing: no certificate, or one that cannot be parsed.
    :raises PrivateKeyMissing: no key, one that cannot be parsed, or of a kind that TLS servers do not use.
    :raises PrivateKeyEncrypted: the key needs a passphrase.
    :raises KeyMismatch: key and first certificate do not belong together.
    """
    certificate = _first_certificate(data)
    key = _private_key(data)
    if _public_bytes(key.public_key()) != _public_bytes(certificate.public_key()):
        raise KeyMismatch("The first certificate and the private key have different public keys")
    return certificate


def _first_certificate(data: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(data)[0]
    except ValueError as error:
        raise CertificateMissing("The data holds no certificate that can be parsed") from error


def _private_key(data: bytes) -> PrivateKey:
    block = _KEY_BLOCK.search(data)
    if block is None:
        raise PrivateKeyMissing("The data holds no private key")
    try:
        key = serialization.load_pem_private_key(block[0], password=None)
    except TypeError:
        # The library's own error might quote the material, so no cause is kept here and below.
        raise PrivateKeyEncrypted("The private key is encrypted; send it without a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise PrivateKeyMissing("The private key cannot be parsed") from None
    if not isinstance(key, PrivateKey):
        raise PrivateKeyMissing("The private key is of a kind that TLS servers do not use")
    return key


def _public_bytes(key: object) -> bytes:
    try:
        return key.public_bytes(  # type: ignore[attr-defined,no-any-return]
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateMissing("The certificate's public key is of an unknown kind") from error
