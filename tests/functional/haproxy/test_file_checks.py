# SPDX-License-Identifier: Apache-2.0
"""What pre-flight says of files, held against what haproxy itself says of them."""

import os
import subprocess
import time
from datetime import UTC, datetime

import pytest

from amphora.errors import CommandTimeout, InvalidConfiguration
from amphora.haproxy.preflight.file_checks import file_findings
from amphora.haproxy.proof.prove import prove
from amphora.testing.pki import Pki, encrypted_key_pem

HEAD = "defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
PAIRS = """none dir empty garbage certificate mismatch encrypted key separate separate-mismatch two-keys
    key-first broken crlf bundle pairs pairs-bad sub null""".split()  # noqa: SIM905
TEXTS = "none dir empty garbage null".split()  # noqa: SIM905
AUTHORITIES = "none dir empty garbage ca cas".split()  # noqa: SIM905
LISTS = "none dir empty comment fine missing authority relative".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Files of every kind, good and bad."""
    directory = tmp_path_factory.mktemp("shelf")
    pki = Pki(directory)
    a, b = pki.server("a.example", file_name="fine.pem"), pki.server("b.example", file_name="b.pem")
    certificate, key = a.certificate_pem, a.key_pem
    content = {
        "empty": b"",
        "garbage": b"words\n",
        "certificate": certificate,
        "mismatch": certificate + b.key_pem,
        "encrypted": certificate + encrypted_key_pem(key, b"secret"),
        "key": key,
        "separate": certificate,
        "separate.key": key,
        "separate-mismatch": certificate,
        "separate-mismatch.key": b.key_pem,
        "two-keys": certificate + key,
        "two-keys.key": b.key_pem,
        "key-first": key + certificate,
        "broken": b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" + key,
        "crlf": (certificate + key).replace(b"\n", b"\r\n"),
        "bundle.rsa": certificate + key,
        "ca": pki.ca_pem,
        "page": b"HTTP/1.0 503 Busy\r\n\r\nbusy",
        "comment": b"# nothing\n",
        "fine": f"# mine\n\n{directory}/fine.pem [alpn h2] a.example !x.a.example\n".encode(),
        "missing": f"{directory}/fine.pem\n{directory}/none.pem\n".encode(),
        "authority": f"{directory}/fine.pem [ca-file {directory}/none verify optional]\n".encode(),
        "relative": b"fine.pem\n",
    }
    for name, data in content.items():
        (directory / name).write_bytes(data)
    for name in ("dir", "pairs", "pairs-bad", "sub", "sub/sub", "cas"):
        (directory / name).mkdir()
    for name in ("pairs/x.pem", "pairs-bad/x.pem", "sub/x.pem"):
        (directory / name).write_bytes(certificate + key)
    (directory / "pairs-bad/y").write_text("words")
    (directory / "cas/ca.pem").write_bytes(pki.ca_pem)
    (directory / "null").symlink_to("/dev/null")
    return directory


def verdicts(haproxy, body, head=""):
    """Return whether pre-flight, and whether haproxy, takes a configuration."""
    configuration = haproxy.write(f"{head}{HEAD}frontend f\n{body}\n")
    found = file_findings(configuration, datetime.now(UTC))
    try:
        haproxy.check(timeout=10)
    except InvalidConfiguration:
        return not found, False
    return not found, True


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("extra", ["", "global\n ssl-load-extra-files none\n"], ids=["all", "none"])
def test_certificates_are_judged_as_haproxy_does(haproxy, shelf, name, extra):
    ours, theirs = verdicts(haproxy, f" bind :1 ssl crt {shelf}/{name}", extra)
    if name == "dir":
        # An empty directory is left for haproxy to refuse.
        assert (ours, theirs) == (True, False)
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", AUTHORITIES)
@pytest.mark.parametrize("keyword", ["ca-file", "ca-verify-file", "crl-file"])
def test_authorities_are_judged_as_haproxy_does(haproxy, shelf, keyword, name):
    other = f"ca-file {shelf}/ca" if keyword == "crl-file" else ""
    body = f" bind :1 ssl crt {shelf}/fine.pem {other} {keyword} {shelf}/{name} verify optional"
    ours, theirs = verdicts(haproxy, body)
    assert ours == theirs


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("base", ["", "crt-base"])
def test_lists_are_judged_as_haproxy_does(haproxy, shelf, name, base):
    ours, theirs = verdicts(
        haproxy, f" bind :1 ssl crt-list {shelf}/{name}", f"global\n crt-base {shelf}\n" if base else ""
    )
    if name == "dir":
        assert (ours, theirs) == (False, False)
    else:
        assert ours == theirs


@pytest.mark.parametrize("name", [*TEXTS, "page"])
@pytest.mark.parametrize(
    "line",
    [
        " errorfile 503 {}",
        " acl x path -i -f {}\n http-request deny if x",
        " http-request deny if {{ path -M -f {} }}",
        " http-request set-header X %[path,map({},none)]",
        " http-request return status 200 content-type a/b file {}",
        " http-request return status 503 errorfile {}",
    ],
)
def test_other_files_are_judged_as_haproxy_does(haproxy, shelf, line, name):
    ours, theirs = verdicts(haproxy, " bind :1\n" + line.format(shelf / name))
    # What a page says is for haproxy to judge.
    assert ours == theirs or (ours and name == "garbage" and "errorfile" in line)


@pytest.mark.parametrize("name", ["none", "dir", "empty"])
@pytest.mark.parametrize("keyword", ["lua-load", "lua-load-per-thread"])
def test_scripts_are_judged_as_haproxy_does(haproxy, shelf, keyword, name):
    ours, theirs = verdicts(haproxy, " bind :1", f"global\n {keyword} {shelf}/{name}\n")
    assert ours == theirs


def test_a_missing_state_of_servers_is_fine(haproxy, shelf):
    head = f"global\n server-state-file {shelf}/none\n"
    assert verdicts(haproxy, " bind :1", head) == (True, True)


@pytest.mark.parametrize("line", [" errorfile 503 {}", " bind :2 ssl crt {}"])
def test_haproxy_would_wait_for_ever_at_a_named_pipe(haproxy, short_dir, line):
    os.mkfifo(short_dir / "p")
    configuration = haproxy.write(f"{HEAD}frontend f\n bind :1\n{line.format(short_dir / 'p')}\n")
    assert [f.reason for f in file_findings(configuration, datetime.now(UTC))] == ["it is a named pipe"]
    with pytest.raises(CommandTimeout):
        haproxy.check(timeout=0.5)


def test_files_that_only_root_can_read_are_read_before_root_is_given_up(haproxy, short_dir, free_port):
    # Reading happens in master and worker before user, group and chroot take effect.
    secret = short_dir / "secret"
    secret.mkdir(mode=0o700)
    pair = Pki(secret).server("a.example").path
    for name in ("map", "page"):
        (secret / name).touch(mode=0o600)
    port = free_port()
    configuration = haproxy.write(
        f"global\n user nobody\n group nogroup\n chroot {secret}\n{HEAD}frontend f\n"
        f" bind 127.0.0.1:{port} ssl crt {pair}\n errorfile 503 {secret}/page\n"
        f" http-request return status 200 hdr X %[path,map({secret}/map,none)]\n"
    )
    assert file_findings(configuration, datetime.now(UTC)) == ()
    haproxy.spawn()
    evidence = prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    status = subprocess.run(
        ["ps", "-o", "user=", "-p", str(evidence.worker_pid)], capture_output=True, text=True, timeout=10
    )
    assert status.stdout.strip() == "nobody"
