# SPDX-License-Identifier: Apache-2.0
import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.preflight.file_checks import file_findings
from amphora.haproxy.preflight.findings import Severity
from amphora.haproxy.reading.certificates import ListEntry, parse_list
from amphora.haproxy.reading.configuration import parse
from amphora.testing.pki import Pki

NOW = datetime.now(UTC)


@pytest.fixture
def pki(short_dir):
    return Pki(short_dir)


def findings(text, now=NOW, **options):
    return file_findings(parse(text.encode()), now, **options)


def told(text):
    return [str(finding) for finding in findings(text)]


def listen(parameters, head=""):
    return f"{head}listen l\n bind :1 {parameters}\n"


def test_files_that_are_fine_are_no_findings(short_dir, pki):
    pair = pki.server("a.example")
    (short_dir / "list").write_text(f"\n# none\n{pair.path} [ca-file {pki.ca_path}] a.example\nserver.pem\n")
    (short_dir / "map").touch()
    head = f"global\n crt-base {short_dir}\n"
    text = listen(
        f"ssl crt server.pem crt-list {short_dir}/list ca-file {pki.ca_path} crl-file {short_dir}", head
    )
    assert told(text + f" errorfile 503 /dev/null\n acl x path -f {short_dir}/map\n") == []


@pytest.mark.parametrize("keyword", ["crt", "crt-list", "ca-file", "crl-file", "ca-verify-file"])
def test_missing_and_empty_files_are_named_with_their_line(short_dir, keyword):
    path = short_dir / "x"
    assert told(listen(f"ssl {keyword} {path}")) == [f"line 2: {keyword} {path}: it does not exist"]
    path.touch()
    assert told(listen(f"ssl {keyword} {path}")) == [f"line 2: {keyword} {path}: it is empty"]


def test_a_file_is_looked_at_once_and_told_for_every_line(short_dir):
    text = listen(f"ssl crt {short_dir}/x") + f" bind :2 ssl crt {short_dir}/x\n"
    assert [finding.line for finding in findings(text)] == [2, 3]


def test_lists_name_their_own_lines(short_dir, pki):
    pair = pki.server("a.example")
    path = short_dir / "list"
    path.write_text(f"{pair.path}\n\n{short_dir}/none.pem [ca-file {short_dir}/no] x\n{short_dir}\n@s/x\n")
    assert told(listen(f"ssl crt-list {path}")) == [
        f"line 2: crt-list {path}: line 3: crt {short_dir}/none.pem: it does not exist",
        f"line 2: crt-list {path}: line 3: ca-file {short_dir}/no: it does not exist",
        f"line 2: crt-list {path}: line 4: crt {short_dir}: it is a directory",
    ]
    path.write_text("# nothing\n")
    assert told(listen(f"ssl crt-list {path}")) == [f"line 2: crt-list {path}: it names no certificate"]


def test_directories_do_only_where_haproxy_takes_them(short_dir, pki):
    (short_dir / "d").mkdir()
    (short_dir / "d" / "bad").write_text("x")
    assert told(listen(f"ssl crt {short_dir}/d")) == [
        f"line 2: crt {short_dir}/d: bad: it holds no certificate"
    ]
    assert told(listen(f"ssl ca-file {short_dir}/d")) == []
    for line in (f"errorfile 503 {short_dir}", f"acl x path -f {short_dir}", f"bind :1 crt-list {short_dir}"):
        assert [f.reason for f in findings(f"listen l\n {line}\n")] == ["it is a directory"]


def test_an_expired_certificate_only_advises(pki):
    text = listen(f"ssl crt {pki.server('a.example').path}")
    (finding,) = findings(text, NOW + timedelta(days=60))
    assert (finding.severity, "has expired on" in finding.reason) == (Severity.ADVISES, True)


def test_a_named_pipe_is_found_without_waiting_for_it(short_dir):
    os.mkfifo(short_dir / "p")
    for line in (f"errorfile 503 {short_dir}/p", f"bind :1 ssl crt {short_dir}/p"):
        assert [f.reason for f in findings(f"listen l\n {line}\n")] == ["it is a named pipe"]


def test_a_device_that_never_ends_is_found_and_an_empty_page_is_none():
    found = findings("listen l\n bind :1 ssl crt /dev/zero\n errorfile 503 /dev/null\n")
    assert [str(finding) for finding in found] == ["line 2: crt /dev/zero: it is a device"]


def test_a_chroot_that_cannot_be_entered_keeps_workers_from_starting(short_dir):
    file = short_dir / "x"
    file.touch()
    for path, reason in ((short_dir / "none", "it does not exist"), (file, "it is no directory")):
        (finding,) = findings(f"global\n chroot {path}\n")
        assert str(finding) == f"line 2: chroot {path}: {reason}"
        assert finding.severity is Severity.REFUSES_START
    # haproxy keeps to the first, and it alone knows whether a condition holds.
    assert findings(f"global\n chroot {short_dir}\n chroot {file}\n") == ()
    assert findings(f"global\n.if 1\n chroot {file}\n.endif\n") == ()


@pytest.fixture
def ordinary_user():
    user = os.geteuid()
    os.seteuid(user or 65534)
    yield
    os.seteuid(user)


@pytest.mark.usefixtures("ordinary_user")
def test_files_that_cannot_be_read_are_told():
    assert [f.reason for f in findings("listen l\n errorfile 503 /etc/shadow\n")] == [
        "it cannot be read: permission denied"
    ]


def test_time_and_number_are_limited(short_dir):
    text = "listen l\n" + f" errorfile 503 {short_dir}/none\n" * 150
    assert len(findings(text)) == 100
    assert findings(text, time_limit=0) == ()


def test_entries_of_a_list():
    text = "# x\n /a.pem [alpn h2 ca-file /ca crl-file /crl] a.example !b.example # later\r\nb.pem x\n\n/c[x"
    assert list(parse_list(text)) == [
        ListEntry(2, "/a.pem", (("ca-file", "/ca"), ("crl-file", "/crl")), ("a.example", "!b.example")),
        ListEntry(3, "b.pem", (), ("x",)),
        ListEntry(5, "/c"),
    ]


@given(st.text())
def test_odd_lists_never_raise(text):
    assert all(entry.path for entry in parse_list(text))


@given(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_odd_names_never_raise(name):
    findings(f"listen l\n bind :1 ssl crt '{name}' crt-list '{name}' ca-file '{name}'\n")
