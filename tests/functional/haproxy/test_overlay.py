# SPDX-License-Identifier: Apache-2.0
"""Uploads with a ``global`` section of their own beside ours: no alert, no warning, and it works."""

import os
import pwd
import re
import socket
import time

import pytest

from amphora.haproxy.proof.prove import prove, snapshot

GLOBALS = {
    "none": "",
    "user": "global\n user nobody\n",
    "user and group": "global\n user nobody\n group nogroup\n",
    "uid and gid": "global\n uid 65534\n gid 65534\n",
    "log": "global\n log {dir}/log.sock local3\n",
    "stats socket": "global\n stats socket {dir}/own.sock mode 0666 level user\n stats timeout 5s\n",
    "daemon": "global\n daemon\n master-worker\n",
    "maxconn": "global\n maxconn 2000\n nbthread 1\n",
    "chroot": "global\n chroot {dir}\n",
    "zero warnings": "global\n zero-warning\n",
    "two globals": "global\n maxconn 100\nglobal\n user nobody\n",
    "all": "global\n daemon\n user nobody\n group nogroup\n log {dir}/log.sock local3\n"
    " stats socket {dir}/own.sock mode 0666 level user\n maxconn 100\n zero-warning\n",
}


@pytest.fixture
def with_overlay(make_haproxy, short_dir):
    """A haproxy with all that an overlay can hold, and the syslog socket that it logs to."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(short_dir / "log.sock"))
        (short_dir / "log.sock").chmod(0o666)
        log.settimeout(5)
        overlay = {"log_target": str(short_dir / "log.sock"), "user": "haproxy", "group": "haproxy"}
        yield make_haproxy(**(overlay if os.geteuid() == 0 else {})), log


@pytest.mark.parametrize("name", GLOBALS)
def test_uploads_combine_without_a_complaint(with_overlay, serving, free_port, short_dir, name):
    haproxy, _ = with_overlay
    configuration = haproxy.write(
        serving(f"127.0.0.1:{free_port()}", head=GLOBALS[name].format(dir=short_dir))
    )
    assert haproxy.check() == "Configuration file is valid"
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    before = snapshot(haproxy.master)
    haproxy.reload()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10, before=before)
    assert not re.findall(r".*\[ALERT\].*|.*\[WARNING\].*config.*", haproxy.log())


def test_a_pid_file_of_the_upload_is_no_obstacle(with_overlay, serving, free_port, short_dir):
    # Ours, on the command line, counts. haproxy mentions it as an alert and goes on.
    haproxy, _ = with_overlay
    configuration = haproxy.write(
        serving(f"127.0.0.1:{free_port()}", head=f"global\n zero-warning\n pidfile {short_dir}/own\n")
    )
    assert haproxy.check() == "Configuration file is valid"
    pid = haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    assert int((haproxy.directory / "pid").read_text()) == pid
    assert not (short_dir / "own").exists()


@pytest.mark.parametrize(("head", "user"), [("", "haproxy"), ("global\n user nobody\n", "nobody")])
def test_workers_run_as_the_upload_s_user_or_ours(with_overlay, serving, free_port, head, user):
    haproxy, _ = with_overlay
    configuration = haproxy.write(serving(f"127.0.0.1:{free_port()}", head=head))
    haproxy.spawn()
    worker = prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10).worker_pid
    status = os.stat(f"/proc/{worker}")
    expected = pwd.getpwnam(user).pw_uid if os.geteuid() == 0 else os.geteuid()
    assert status.st_uid == expected


def test_it_logs_to_our_target(with_overlay, serving, free_port):
    haproxy, log = with_overlay
    port = free_port()
    configuration = haproxy.write(serving(f"127.0.0.1:{port}") + " log global\n option httplog\n")
    haproxy.spawn()
    prove(haproxy.master, haproxy.stats, configuration, time.monotonic() + 10)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /logged HTTP/1.0\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    messages = iter(lambda: log.recv(4096), b"")
    # local0 is facility 16, informational is severity 6: priority 134.
    assert next(message for message in messages if b"GET /logged" in message).startswith(b"<134>")
