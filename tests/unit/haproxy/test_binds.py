# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.binds import FileBases, parse_bind


def bind(parameters, certificates="", authorities=""):
    return parse_bind(7, ":443", (), parameters.split(), FileBases(certificates, authorities))


def test_parameters_that_matter():
    parsed = bind("ssl crt /a.pem crt-list list.txt ca-file @system-ca interface eth1 transparent v6only")
    assert (parsed.line, parsed.text, parsed.ssl, parsed.transparent) == (7, ":443", True, True)
    assert (parsed.files, parsed.interface, parsed.v6only) == (
        ("/a.pem", "list.txt", "@system-ca"),
        "eth1",
        True,
    )


def test_relative_files_start_from_their_base():
    parsed = bind("crt a.pem crt-list b ca-file ca.pem crl-file @x", "/certs", "/cas")
    assert parsed.files == ("/certs/a.pem", "b", "/cas/ca.pem", "@x")
    assert parsed.keywords == {"crt", "crt-list", "ca-file", "crl-file"}


def test_values_are_not_taken_for_parameters():
    parsed = bind("name ssl alpn transparent id 5 user v6only crt interface namespace blue")
    assert not parsed.ssl
    assert not parsed.transparent
    assert parsed.v6only is None
    assert (parsed.files, parsed.interface, parsed.namespace) == (("interface",), "", "blue")


def test_the_last_of_v4v6_and_v6only_counts():
    assert bind("v6only v4v6").v6only is False
    assert bind("").v6only is None


@given(st.lists(st.sampled_from(["ssl", "crt", "interface", "name", "v4v6", "x", "", "namespace"])))
def test_odd_parameters_never_raise(words):
    parsed = parse_bind(1, "x", (), words, FileBases())
    assert len(parsed.files) <= words.count("crt")
