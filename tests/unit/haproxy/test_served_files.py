# SPDX-License-Identifier: Apache-2.0
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amphora.haproxy.reading.configuration import parse
from amphora.haproxy.reading.served_certificates import CertificateIndex, ServedCertificate
from amphora.testing.pki import Pki


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


def index_of(words, head=""):
    configuration = parse(f"{head}frontend f\n bind :443 ssl {words}\n".encode())
    return CertificateIndex(configuration), configuration.frontends[0].binds[0]


def served(words, head=""):
    index, bind = index_of(words, head)
    return index.served(bind)


def files(words, head=""):
    index, bind = index_of(words, head)
    return index.files(bind)


def store(pki, path, *names):
    path.write_bytes(pki.server(*names, file_name=path.name).path.read_bytes())
    return path


def test_file_is_known_by_its_certificate_and_asked_for_by_its_name(pki, tmp_path):
    path = store(pki, tmp_path / "a.pem", "www.example.com")
    (found,) = served(f"crt {path}")
    assert (found.path, found.server_name, len(found.fingerprint)) == (path, "www.example.com", 64)
    store(pki, tmp_path / "a.pem", "www.example.com")
    (again,) = served(f"crt {path}")
    assert again.fingerprint != found.fingerprint


def test_wildcard_is_asked_for_by_a_name_it_covers(pki, tmp_path):
    path = store(pki, tmp_path / "a.pem", "*.example.com")
    assert served(f"crt {path}")[0].server_name == "any.example.com"


def test_directories_and_lists_name_files(pki, tmp_path):
    one, two = (store(pki, tmp_path / f"{name}.pem", f"{name}.example.com") for name in ("one", "two"))
    for name in (".hidden", "one.pem.ocsp"):
        (tmp_path / name).write_bytes(b"x")
    assert {each.path for each in served(f"crt {tmp_path}")} == {one, two}
    listed = tmp_path / "list"
    listed.write_text(f"# comment\n{one} [alpn h2] one.example.com\n\n{two}\n")
    assert {each.path for each in served(f"crt-list {listed}")} == {one, two}


def test_authorities_without_a_key_are_not_served(pki, tmp_path):
    path = store(pki, tmp_path / "a.pem", "www.example.com")
    found = served(f"crt {path} ca-file {pki.ca_path} verify required")
    assert [each.path for each in found] == [path]
    assert files("crt x ca-file @system-ca") != []


def test_two_files_for_one_name_explain_each_other():
    one = ServedCertificate("a", "11", ("www.example.com",), 0.0, "key")
    same = ServedCertificate("b", "22", ("www.example.com", "example.com"), 0.0, "key")
    other = ServedCertificate("c", "33", ("other.example.com",), 0.0, "key")
    everything = [one, same, other]
    assert one.explains("11", everything)
    assert one.explains("22", everything)
    assert not one.explains("33", everything)
    assert not one.explains("44", everything)


def test_what_is_no_readable_file_is_passed_over_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    listed = tmp_path / "list"
    listed.write_bytes(b"/a\0b\n/absent\n")
    assert served(f"crt {tmp_path / 'pipe'} crt-list {listed}") == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_whatever_a_file_holds_nothing_is_raised(tmp_path, data):
    path = tmp_path / "a.pem"
    path.write_bytes(data)
    assert served(f"crt {path}") == []
    path.write_bytes(b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----BEGIN PRIVATE KEY-----\n")
    assert served(f"crt {path}") == []


def test_key_beside_and_parts_of_a_bundle_are_among_the_files(pki, tmp_path):
    pair = pki.server("www.example.com", file_name="pair.pem")
    certificate, key = tmp_path / "a.pem", tmp_path / "a.pem.key"
    certificate.write_bytes(pair.certificate_pem)
    key.write_bytes(pair.key_pem)
    assert [each.path for each in served(f"crt {certificate}")] == [certificate]
    assert files(f"crt {certificate}") == [certificate, key]
    part = store(pki, tmp_path / "b.pem.rsa", "www.example.com")
    assert [each.path for each in served(f"crt {tmp_path}/b.pem")] == [part]
    assert files(f"crt {tmp_path}/b.pem") == [part]


def test_names_in_lists_start_from_the_base(pki, tmp_path):
    path = store(pki, tmp_path / "a.pem", "www.example.com")
    listed = tmp_path / "list"
    listed.write_text("a.pem\nabsent.pem\n")
    found = f"crt-list {listed}", f"global\n crt-base {tmp_path}\n"
    assert [each.path for each in served(*found)] == [path]
    assert files(*found) == [listed, path, tmp_path / "absent.pem"]
