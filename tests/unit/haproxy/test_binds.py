# SPDX-License-Identifier: Apache-2.0
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.binds import parse_bind
from amphora.haproxy.reading.lines import read_lines
from amphora.haproxy.reading.references import referenced_files


def bind(parameters):
    return parse_bind(7, ":443", (), parameters.split())


def files(parameters, head=""):
    lines = list(read_lines(f"{head}frontend f\n bind :443 {parameters}\n"))
    return tuple(reference.path for reference in referenced_files(lines))


def test_parameters_that_matter():
    parameters = "ssl crt /a.pem crt-list list.txt ca-file @system-ca interface eth1 transparent v6only"
    parsed = bind(parameters)
    assert (parsed.line, parsed.text, parsed.ssl, parsed.transparent) == (7, ":443", True, True)
    assert (parsed.certificates, parsed.interface, parsed.v6only) == (2, "eth1", True)
    assert files(parameters) == ("/a.pem", "list.txt")


def test_relative_files_start_from_their_base():
    parameters = "crt a.pem crt-list b ca-file ca.pem crl-file @x"
    bases = "global\n crt-base /certs\n ca-base /cas\n"
    assert files(parameters, bases) == ("/certs/a.pem", "b", "/cas/ca.pem")
    assert bind(parameters).keywords == {"crt", "crt-list", "ca-file", "crl-file"}


def test_values_are_not_taken_for_parameters():
    parameters = "name ssl alpn transparent id 5 user v6only crt interface namespace blue"
    parsed = bind(parameters)
    assert not parsed.ssl
    assert not parsed.transparent
    assert parsed.v6only is None
    assert (parsed.certificates, parsed.interface, parsed.namespace) == (1, "", "blue")
    assert files(parameters) == ("interface",)


def test_the_last_of_v4v6_and_v6only_counts():
    assert bind("v6only v4v6").v6only is False
    assert bind("").v6only is None


@given(st.lists(st.sampled_from(["ssl", "crt", "interface", "name", "v4v6", "x", "", "namespace"])))
def test_odd_parameters_never_raise(words):
    parsed = parse_bind(1, "x", (), words)
    assert parsed.certificates <= words.count("crt")
