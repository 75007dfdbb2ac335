# SPDX-License-Identifier: Apache-2.0
"""The real executable: version, check, staying in the foreground."""

import re
import socket
import time

import pytest

from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.haproxy.program import HaproxyProgram
from amphora.haproxy.proof.prove import prove, snapshot
from amphora.system.command import CommandRunner
from tests.functional.haproxy.conftest import COMMAND


def test_the_version_is_read(haproxy):
    version = haproxy.program.refresh()
    assert re.match(r"\d+\.\d+\.\d+", version.text)
    assert version.numbers >= (2, 0)
    assert "EPOLL" in version.features


def test_a_valid_configuration(haproxy, serving):
    haproxy.write(serving("127.0.0.1:80"))
    assert haproxy.check() == "Configuration file is valid"


def test_an_invalid_configuration_is_quoted_with_the_given_name(haproxy, serving):
    haproxy.write(serving("127.0.0.1:80") + " nonsense here\n")
    with pytest.raises(InvalidConfiguration) as refusal:
        haproxy.check(names={str(haproxy.upload): "haproxy.cfg"})
    assert "parsing [haproxy.cfg:9] : unknown keyword 'nonsense'" in refusal.value.details
    assert str(haproxy.directory) not in refusal.value.details


def test_a_configuration_that_listens_nowhere_is_invalid(haproxy):
    haproxy.upload.write_text("backend b\n")
    with pytest.raises(InvalidConfiguration, match="no listener"):
        haproxy.program.check([haproxy.upload])


def test_a_check_inside_a_namespace(haproxy, serving, namespace):
    haproxy.namespace = namespace
    haproxy.write(serving("127.0.0.1:80"))
    assert haproxy.check() == "Configuration file is valid"


@pytest.mark.parametrize("within", [True, False], ids=["namespace", "no namespace"])
def test_a_haproxy_that_crashes_over_a_check_says_nothing_of_the_file(haproxy, serving, request, within):
    haproxy.namespace = request.getfixturevalue("namespace") if within else ""
    crashing = haproxy.directory / "haproxy"
    crashing.write_text(f'#!/bin/sh\ncase " $* " in *" -c "*) kill -ABRT $$;; esac\nexec {COMMAND} "$@"\n')
    crashing.chmod(0o755)
    haproxy.program = HaproxyProgram(crashing, CommandRunner())
    haproxy.write(serving("127.0.0.1:80"))
    with pytest.raises(
        OperationFailed, match=r"-c ended with status -6: haproxy itself crashed \(signal 6, Abort"
    ):
        haproxy.check()


def test_a_check_that_takes_too_long_is_ended(haproxy, serving):
    haproxy.write(serving("127.0.0.1:80"))
    with pytest.raises(OperationFailed, match="did not finish within 0.001 s"):
        haproxy.check(timeout=0.001)


@pytest.mark.parametrize("mode", [("-Ws",), ("-W", "-db")])
def test_it_stays_in_the_foreground_whatever_the_upload_says(haproxy, serving, free_port, mode):
    text = serving(f"127.0.0.1:{free_port()}", head="global\n daemon\n master-worker\n")
    configuration = haproxy.write(text)
    argv = haproxy.program.service_argv(haproxy.files, haproxy.directory / "pid", haproxy.master_path)
    assert argv[1] == "-Ws"
    pid = haproxy.spawn(argv=(argv[0], *mode, *argv[2:]))
    deadline = time.monotonic() + 10
    assert prove(haproxy.master, haproxy.stats, configuration, deadline).master_pid == pid
    before = snapshot(haproxy.master)
    haproxy.reload()
    evidence = prove(haproxy.master, haproxy.stats, configuration, deadline, before=before)
    assert evidence.master_pid == pid == int((haproxy.directory / "pid").read_text())
    assert haproxy.process.poll() is None


def test_it_says_when_it_is_ready(haproxy, serving, free_port):
    haproxy.write(serving(f"127.0.0.1:{free_port()}"))
    assert haproxy.program.notifies()
    path = haproxy.directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(10)
        haproxy.spawn(environment={"NOTIFY_SOCKET": str(path)})
        # The first message of 2.6 is RELOADING=1, even at a start.
        assert any(notify.recv(4096).startswith(b"READY=1") for _ in range(2))


def test_the_sockets_are_for_their_own_user_only(haproxy, serving, free_port, eventually):
    haproxy.write(serving(f"127.0.0.1:{free_port()}"))
    haproxy.spawn()
    for path in (haproxy.master_path, haproxy.settings.stats_socket):
        eventually(path.exists)
        assert path.stat().st_mode & 0o777 == 0o600
