# SPDX-License-Identifier: Apache-2.0
import pytest

from amphora.haproxy.reading.certificates import fingerprint, leaf
from amphora.haproxy.reading.configuration import parse
from amphora.haproxy.reading.served_certificates import CertificateIndex
from amphora.testing.pki import Pki


@pytest.fixture
def pki(short_dir):
    return Pki(short_dir)


@pytest.fixture
def pair(pki):
    """Two stored certificates: their paths and their fingerprints."""
    both = [pki.server(f"{name}.example", file_name=f"{name}.pem") for name in "ab"]
    return [one.path for one in both], [fingerprint(leaf(one.certificate_pem)) for one in both]


def stored(parameters, head=""):
    configuration = parse(f"{head}listen l\n bind :1 ssl {parameters}\n".encode())
    return CertificateIndex(configuration).of(configuration.frontends[0].binds[0])


def test_the_first_of_a_line_is_the_default(pair):
    (a, b), (first, second) = pair
    found = stored(f"crt {a} crt {b}")
    assert (found.default, found.every, found.name) == ({first}, {first, second}, "a.example")
    assert stored(f"crt {a} default-crt {b}").default == {second}


@pytest.mark.parametrize(
    ("name", "asked"), [("a.example", "a.example"), ("10.0.0.1", None), ("Acme Ltd", None)]
)
def test_a_common_name_will_do_where_there_is_no_other(short_dir, name, asked):
    assert stored(f"crt {Pki(short_dir, name).ca_path}").name == asked


def test_lists_and_bases_are_followed(pair, short_dir):
    _, (first, second) = pair
    (short_dir / "list").write_text("# x\nb.pem [alpn h2] b.example\na.pem\n")
    found = stored(f"crt-list {short_dir}/list", f"global\n crt-base {short_dir}\n")
    assert (found.default, found.every) == ({second}, {first, second})


def test_a_bundle_has_several_defaults(pair, short_dir):
    (a, b), both = pair
    a.rename(short_dir / "x.rsa")
    b.rename(short_dir / "x.ecdsa")
    assert stored(f"crt {short_dir}/x").default == set(both)


@pytest.mark.parametrize(
    "parameters",
    [
        "crt {a} generate-certificates ca-sign-file {a}",
        "crt {a} accept-netscaler-cip 5",
        "crt @store/x crt {a}",
        "ca-file {a}",
        "",
    ],
)
def test_what_only_haproxy_knows_is_not_guessed(pair, parameters):
    assert stored(parameters.format(a=pair[0][0])) is None


def test_authorities_and_the_system_s_own_do_not_matter(pair, pki):
    (a, _), (first, _) = pair
    assert stored(f"crt {a} ca-file {pki.ca_path}").every == {first}
    assert stored(f"crt {a} ca-file @system-ca").every == {first}


def test_a_file_that_is_gone_is_an_error(short_dir):
    with pytest.raises(OSError, match="No such file"):
        stored(f"crt-list {short_dir}/none")


def test_wildcards_get_a_name_to_ask_for(pki):
    path = pki.server("*.example.com", file_name="w.pem").path
    assert stored(f"crt {path}").name == "any.example.com"
    assert stored(f"crt {pki.server('192.0.2.1', file_name='i.pem').path}").name is None
