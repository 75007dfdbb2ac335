# SPDX-License-Identifier: Apache-2.0
import ssl
from pathlib import Path

import pytest

from amphora.errors import ConfigurationError
from amphora.server.tls import build_context, peer_names
from amphora.testing.pki import Credential, Pki, encrypted_key_pem

TLS12 = ssl.TLSVersion.TLSv1_2


@pytest.fixture(scope="module")
def server(pki: Pki) -> Credential:
    return pki.server(file_name="tls-server.pem")


def test_certificate_is_required_and_old_versions_are_raised(pki: Pki, server: Credential) -> None:
    context = build_context(server.path, pki.ca_path, ssl.TLSVersion.MINIMUM_SUPPORTED)

    assert context.minimum_version == TLS12
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.num_tickets == 0


def test_newer_minimum_is_kept(pki: Pki, server: Credential) -> None:
    context = build_context(server.path, pki.ca_path, ssl.TLSVersion.TLSv1_3)

    assert context.minimum_version == ssl.TLSVersion.TLSv1_3


def test_every_cipher_is_aead_with_forward_secrecy(pki: Pki, server: Credential) -> None:
    context = build_context(server.path, pki.ca_path, TLS12)
    ciphers = context.get_ciphers()

    assert all(cipher["aead"] for cipher in ciphers)
    assert {cipher["name"].partition("-")[0] for cipher in ciphers if cipher["protocol"] == "TLSv1.2"} == {
        "ECDHE"
    }
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize("key", ["rsa", "ec"])
def test_key_may_come_first(tmp_path: Path, key: str) -> None:
    pki = Pki(tmp_path)
    server = pki.server(key=key)
    server.path.write_bytes(server.key_pem + server.certificate_pem + pki.ca_pem)

    build_context(server.path, pki.ca_path, TLS12)


def _refusal(certificate: Path, client_ca: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        build_context(certificate, client_ca, TLS12)
    assert "\n" not in caught.value.details
    return caught.value.details


@pytest.mark.parametrize(
    ("kept", "reason"),
    [
        ("certificate", "holds no PEM private key"),
        ("key", "holds no PEM certificate"),
        ("nothing", "holds no PEM certificate"),
    ],
)
def test_incomplete_certificate_file_is_explained(
    tmp_path: Path, pki: Pki, server: Credential, kept: str, reason: str
) -> None:
    parts = {"certificate": server.certificate_pem, "key": server.key_pem, "nothing": b""}
    path = tmp_path / "server.pem"
    path.write_bytes(parts[kept])

    assert _refusal(path, pki.ca_path) == f"Server certificate file {path} {reason}"


def test_foreign_key_is_explained(tmp_path: Path, pki: Pki, server: Credential) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(server.certificate_pem + pki.client(file_name="foreign.pem").key_pem)

    assert "does not belong to its first certificate" in _refusal(path, pki.ca_path)


def test_malformed_data_is_refused_without_being_shown(tmp_path: Path, pki: Pki, server: Credential) -> None:
    path = tmp_path / "server.pem"
    secret = server.key_pem.splitlines()[1]
    path.write_bytes(server.certificate_pem + server.key_pem.replace(secret, secret[: len(secret) // 2]))

    details = _refusal(path, pki.ca_path)

    assert details.startswith(f"Server certificate file {path} cannot be used: ")
    assert secret.decode()[:8] not in details


def test_passphrase_is_refused_not_asked_for(tmp_path: Path, pki: Pki, server: Credential) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(server.certificate_pem + encrypted_key_pem(server.key_pem, b"secret"))

    assert (
        _refusal(path, pki.ca_path) == f"Server certificate file {path} holds a private key with a passphrase"
    )


def test_missing_files_are_named(tmp_path: Path, pki: Pki, server: Credential) -> None:
    missing = tmp_path / "missing.pem"

    assert _refusal(missing, pki.ca_path) == (
        f"Server certificate file {missing} cannot be read: No such file or directory"
    )
    assert (
        _refusal(server.path, missing)
        == f"Client CA file {missing} cannot be read: No such file or directory"
    )


def test_client_ca_without_certificate_is_explained(tmp_path: Path, server: Credential) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"nothing of the kind\n")

    assert _refusal(server.path, path) == f"Client CA file {path} cannot be used: it holds no PEM certificate"


def test_malformed_client_ca_is_refused(tmp_path: Path, server: Credential) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    assert _refusal(server.path, path).startswith(f"Client CA file {path} cannot be used: ")


def test_peer_names_are_common_then_dns_names_once() -> None:
    certificate = {
        "subject": ((("organizationName", "o"),), (("commonName", "a"),)),
        "subjectAltName": (("DNS", "b"), ("IP Address", "192.0.2.1"), ("DNS", "a")),
    }

    assert peer_names(certificate) == ("a", "b")


@pytest.mark.parametrize("certificate", [None, {}])
def test_no_certificate_is_not_the_same_as_no_names(certificate: dict[str, object] | None) -> None:
    assert peer_names(certificate) is None
    assert peer_names({"subject": ()}) == ()
