# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.certificates import (
    LoadingRules,
    authorities_problem,
    certificate_files,
    fingerprint,
    leaf,
    loading_rules,
    pair_problem,
    validity_problem,
)
from amphora.testing.pki import Pki, encrypted_key_pem

NO_KEY = "it holds no private key, nor is one beside it"
RULES = LoadingRules()


@pytest.fixture
def pki(short_dir):
    return Pki(short_dir)


@pytest.fixture
def pair(pki):
    return pki.server("a.example", file_name="a.pem")


def problem(directory, data, rules=RULES):
    return pair_problem(data, directory / "a.pem", rules)


def test_a_pair_is_fine_in_any_order_and_with_a_chain(short_dir, pair, pki):
    certificate, key = pair.certificate_pem, pair.key_pem
    for data in (certificate + key, key + certificate, certificate + pki.ca_pem + key):
        for form in (data, data.replace(b"\n", b"\r\n"), b"# words\n" + data.rstrip(b"\n")):
            assert problem(short_dir, form) is None


def test_what_is_missing_or_does_not_match_is_said(short_dir, pair, pki):
    other = pki.server("b.example", file_name="b.pem")
    assert problem(short_dir, b"nothing") == "it holds no certificate"
    assert problem(short_dir, pair.key_pem) == "it holds no certificate"
    assert problem(short_dir, pair.certificate_pem) == NO_KEY
    mismatch = "its certificate and private key do not belong together"
    assert problem(short_dir, pair.certificate_pem + other.key_pem) == mismatch
    # haproxy takes the first certificate for its own.
    assert problem(short_dir, pki.ca_pem + pair.certificate_pem + pair.key_pem) == mismatch
    encrypted = pair.certificate_pem + encrypted_key_pem(pair.key_pem, b"secret")
    assert problem(short_dir, encrypted) == "its private key is encrypted"
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert problem(short_dir, broken + pair.key_pem) == "its certificate cannot be read"


def test_a_key_may_be_in_a_file_beside_it_where_haproxy_looks_for_one(short_dir, pair):
    (short_dir / "a.pem.key").write_bytes(pair.key_pem)
    assert problem(short_dir, pair.certificate_pem) is None
    assert problem(short_dir, pair.certificate_pem, LoadingRules(key=False)) == NO_KEY
    cut = LoadingRules(cut_ending=True)
    assert pair_problem(pair.certificate_pem, short_dir / "x.crt", cut) == NO_KEY
    (short_dir / "x.key").write_bytes(pair.key_pem)
    assert pair_problem(pair.certificate_pem, short_dir / "x.crt", cut) is None


def test_a_key_that_only_haproxy_could_read_is_passed_over(short_dir, pair):
    odd = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    assert problem(short_dir, pair.certificate_pem + odd) is None


def test_directories_and_bundles_stand_for_several_files(short_dir):
    directory = short_dir / "d"
    directory.mkdir()
    for name in ("b.pem", "a.pem", "a.pem.key", "a.ocsp", ".hidden"):
        (directory / name).touch()
    (directory / "sub").mkdir()
    assert [file.name for file in certificate_files(directory, RULES)] == ["a.pem", "b.pem"]
    (short_dir / "x.rsa").touch()
    assert certificate_files(short_dir / "x", RULES) == (short_dir / "x.rsa",)
    assert certificate_files(short_dir / "x", LoadingRules(bundle=False)) == ()
    assert certificate_files(short_dir / "y", RULES) == ()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, LoadingRules()),
        ({"ssl-load-extra-files": ("none",)}, LoadingRules(False, False)),
        ({"ssl-load-extra-files": ("key", "ocsp")}, LoadingRules(True, False)),
        ({"ssl-load-extra-files": ("bundle",)}, LoadingRules(False, True)),
        ({"ssl-load-extra-del-ext": ()}, LoadingRules(cut_ending=True)),
    ],
)
def test_rules_are_those_of_the_global_section(values, expected):
    assert loading_rules(values) == expected


def test_validity_is_judged_by_the_given_time(pair):
    certificate, now = leaf(pair.certificate_pem), datetime.now(UTC)
    assert validity_problem(certificate, now) is None
    assert "has expired on" in validity_problem(certificate, now + timedelta(days=31))
    assert "is not valid before" in validity_problem(certificate, now - timedelta(days=2))


def test_authorities_are_certificates_or_revocations(pki):
    assert authorities_problem(pki.ca_pem) is None
    assert authorities_problem(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n") is None
    assert authorities_problem(b"x") == "it holds neither a certificate nor a revocation list"


def test_a_fingerprint_is_that_of_the_first_certificate(pair, pki):
    assert len(fingerprint(leaf(pair.certificate_pem + pki.ca_pem))) == 64
    assert leaf(b"") is None


@given(st.binary(max_size=300), st.sampled_from([b"CERTIFICATE", b"PRIVATE KEY", b"X509 CRL"]))
def test_odd_data_never_raises_and_is_never_quoted(tmp_path_factory, body, label):
    data = b"-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, body, label)
    for form in (body, data):
        pair_problem(form, tmp_path_factory.getbasetemp() / "none.pem", RULES)
        leaf(form)
        authorities_problem(form)
