# SPDX-License-Identifier: Apache-2.0
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amphora.haproxy.reading.lines import read_lines
from amphora.haproxy.reading.references import FileKind, referenced_files


def references(text):
    return referenced_files(list(read_lines(text)))


def named(text):
    return [(reference.keyword, reference.path) for reference in references(text)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "bind :1 ssl crt /a crt-list /l default-crt /d",
            [("crt", "/a"), ("crt-list", "/l"), ("default-crt", "/d")],
        ),
        (
            "bind :1 ca-file /a ca-verify-file /b crl-file /c",
            [("ca-file", "/a"), ("ca-verify-file", "/b"), ("crl-file", "/c")],
        ),
        ("bind :1 ssl ca-file @system-ca crt @store/x tls-ticket-keys /t", [("tls-ticket-keys", "/t")]),
        ("bind :1 name crt level crt crt /a", [("crt", "/a")]),
        (
            "server s 192.0.2.1:1 ssl crt /a ca-file /b crl-file /c",
            [("crt", "/a"), ("ca-file", "/b"), ("crl-file", "/c")],
        ),
        ("server s 192.0.2.1:1 sni crt cookie ca-file", []),
        ("server-template s 3 192.0.2.1:1 ca-file /b", [("ca-file", "/b")]),
        ("default-server ca-file /b", [("ca-file", "/b")]),
        ("errorfile 503 /e", [("errorfile", "/e")]),
        ("errorfile 503", []),
        ("http-request return status 200 content-type file file /f", [("file", "/f")]),
        ("http-request deny errorfile /f if { path -f /g }", [("errorfile", "/f"), ("-f", "/g")]),
        ("http-request return string file", []),
        ("http-request set-header file /x", []),
        ("http-error status 500 errorfile /f", [("errorfile", "/f")]),
        ("acl a src -i -f /a -f /b -- -f /c", [("-f", "/a"), ("-f", "/b")]),
        ("acl a src 192.0.2.1 -f /c", []),
        ("acl a path -m beg -M -f /a", [("-f", "/a")]),
        ("acl a path -f virt@x", []),
        ("http-request deny if { src -n -f /a } !{ path -f /b }", [("-f", "/a"), ("-f", "/b")]),
        ("use_backend %[req.hdr(host),lower,map_dom(/m,none)]", [("map_dom", "/m")]),
        ("acl a hdr(host),map_str_int(/m) -m int 1", [("map_str_int", "/m")]),
        ("http-request deny if { src,map_ip(/m) -m str x,map(/n) }", [("map_ip", "/m")]),
        ("http-request set-var(txn.x) path,map_beg(/m)", [("map_beg", "/m")]),
        ("http-request set-header X path,map(/m)", []),
        ("http-request return string %[path,map(/m)]", []),
        ("http-request set-header X see-map(1)", []),
        ('http-request set-header X "%[path,map(${DIR}/m)]"', []),
        ("description x,map(/m)", []),
        ('bind :1 ssl crt "$CERT"', []),
    ],
)
def test_files_of_a_line(line, expected):
    assert named(f"frontend f\n {line}\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "global\n lua-load /x.lua arg\n lua-load-per-thread /y\n ssl-dh-param-file /d\n",
            ["/x.lua", "/y", "/d"],
        ),
        ("global\n server-state-file /s\n", []),
        (
            "global\n crt-base /c\n ca-base /a\nlisten l\n bind :1 crt x crt-list l ca-file y\n",
            ["/c/x", "l", "/a/y"],
        ),
        ("global\n crt-base /c\nlisten l\n bind :1 crt /x\n", ["/x"]),
        ("global\n default-path config\nlisten l\n bind :1 crt x crt /y\n", ["/y"]),
        ("global\n default-path current\nlisten l\n bind :1 crt x\n", ["x"]),
        ("global\n.if 1\n crt-base /c\n.endif\nlisten l\n bind :1 crt x crt /y\n", ["/y"]),
        ("listen l\n.if 1\n bind :1 crt /x\n.endif\n bind :1 crt /y\n", ["/y"]),
        ("http-errors e\n errorfile 503 /e\n", ["/e"]),
        ("crt-store s\n load crt x\n", []),
        ("bind :1 crt /x\n", ["/x"]),
    ],
)
def test_paths_are_those_that_haproxy_opens(text, expected):
    assert [reference.path for reference in references(text)] == expected


def test_kinds_tell_what_a_file_must_be():
    text = (
        "listen l\n bind :1 crt /a crt-list /b ca-file /c\n server s 192.0.2.1:1 crt /d\n errorfile 503 /e\n"
    )
    assert [(r.line, r.kind, r.may_be_directory) for r in references(text)] == [
        (2, FileKind.CERTIFICATE, True),
        (2, FileKind.CERTIFICATE_LIST, False),
        (2, FileKind.AUTHORITY, True),
        (3, FileKind.CERTIFICATE, False),
        (4, FileKind.TEXT, False),
    ]


words = st.sampled_from(
    ["acl", "bind", "server", "http-request", "return", "file", "-f", "-m", "{", "}", "crt", "ca-file"]
    + ["map(", "%[path,map(/m)]", "if", "errorfile"]
)


@given(st.lists(st.lists(words | st.text(max_size=5), max_size=8), max_size=8))
def test_odd_lines_never_raise(lines):
    references("listen l\n" + "\n".join(" ".join(line) for line in lines))
