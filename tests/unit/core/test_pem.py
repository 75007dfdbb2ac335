# SPDX-License-Identifier: Apache-2.0
import itertools

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa
from hypothesis import given
from hypothesis import strategies as st

from amphora.core import pem
from amphora.errors import (
    CertificateMissing,
    InvalidInput,
    KeyMismatch,
    PrivateKeyEncrypted,
    PrivateKeyMissing,
)
from amphora.haproxy.reading.certificates import names_of
from amphora.testing.pki import Pki, encrypted_key_pem


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_key_certificate_and_chain_may_come_in_any_order(pki, kind):
    leaf = pki.server("www.example.com", key=kind)
    for key_position in range(3):
        parts = [leaf.certificate_pem, pki.ca_pem]
        parts.insert(key_position, leaf.key_pem)
        certificate = pem.check_certificate_and_key(b"\n".join(parts))
        assert names_of(certificate) == ("www.example.com",)


def test_the_first_certificate_is_the_one_that_must_match(pki):
    leaf = pki.server("www.example.com")
    with pytest.raises(KeyMismatch):
        pem.check_certificate_and_key(pki.ca_pem + leaf.certificate_pem + leaf.key_pem)


def test_another_key_does_not_match(pki):
    one, other = pki.server("one"), pki.server("other")
    for certificate, key in itertools.permutations([one, other], 2):
        with pytest.raises(KeyMismatch):
            pem.check_certificate_and_key(certificate.certificate_pem + key.key_pem)


def test_traditional_key_formats_are_accepted(pki):
    for kind in ("rsa", "ec"):
        leaf = pki.server("www.example.com", key=kind)
        key = serialization.load_pem_private_key(leaf.key_pem, None)
        traditional = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        assert pem.check_certificate_and_key(traditional + leaf.certificate_pem)


def test_an_encrypted_key_is_told_from_a_missing_one(pki):
    leaf = pki.server("www.example.com")
    locked = encrypted_key_pem(leaf.key_pem, b"passphrase")
    with pytest.raises(PrivateKeyEncrypted):
        pem.check_certificate_and_key(leaf.certificate_pem + locked)
    with pytest.raises(PrivateKeyMissing):
        pem.check_certificate_and_key(leaf.certificate_pem)


def test_a_key_that_no_tls_server_uses_is_refused(pki):
    key = dsa.generate_private_key(2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(PrivateKeyMissing):
        pem.check_certificate_and_key(pki.server("x").certificate_pem + key)


def test_what_is_missing_first_is_the_certificate(pki):
    for data in (b"", b"no PEM at all", pki.server("x").key_pem):
        with pytest.raises(CertificateMissing):
            pem.check_certificate_and_key(data)


@given(data=st.binary(max_size=300), position=st.integers(0, 2000))
def test_damaged_data_is_refused_and_never_quoted(data, position):
    body = b"-----BEGIN PRIVATE KEY-----\n" + data + b"\n-----END PRIVATE KEY-----\n"
    with pytest.raises(InvalidInput) as caught:
        pem.check_certificate_and_key(CERTIFICATE[:position] + body + CERTIFICATE[position:])
    assert "BEGIN" not in str(caught.value)
    assert caught.value.__cause__ is None or isinstance(caught.value, CertificateMissing)


CERTIFICATE = b"""-----BEGIN CERTIFICATE-----
MIIBszCCAVmgAwIBAgIBAjAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAd0ZXN0IENB
-----END CERTIFICATE-----
"""


def test_names_are_listed_once(pki):
    credential = pki.server("www.example.com", "example.com")
    certificate = x509.load_pem_x509_certificate(credential.certificate_pem)
    assert names_of(certificate) == ("www.example.com", "example.com")
    assert "test CA" in names_of(x509.load_pem_x509_certificate(pki.ca_pem))
