# SPDX-License-Identifier: Apache-2.0
"""The script that probes UDP members, against real sockets."""

import socket
import subprocess
import threading

import pytest

from amphora.lvs.check_scripts import UDP_CHECK


@pytest.fixture
def probe(short_dir):
    script = short_dir / "udp_check.sh"
    script.write_bytes(UDP_CHECK)
    script.chmod(0o100)

    def probe(host, port):
        return subprocess.run([str(script), host, str(port)], timeout=30, capture_output=True)

    return probe


def bound(family, host):
    server = socket.socket(family, socket.SOCK_DGRAM)
    server.bind((host, 0))
    server.settimeout(20)
    return server


FAMILIES = [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_a_silent_member_is_there(probe, family, host):
    with bound(family, host) as server:
        result = probe(host, server.getsockname()[1])
        assert (result.returncode, result.stderr) == (0, b"")
        assert server.recv(100) == b"X"


@pytest.mark.parametrize("answer", [b"", b"X", b"\0\xff\n"])
def test_a_member_that_answers_is_there_whatever_it_says(probe, answer):
    with bound(*FAMILIES[0]) as server:

        def serve():
            for _ in range(2):
                _, client = server.recvfrom(100)
                server.sendto(answer, client)

        thread = threading.Thread(target=serve)
        thread.start()
        assert probe("127.0.0.1", server.getsockname()[1]).returncode == 0
        thread.join(20)


@pytest.mark.parametrize(("family", "host"), FAMILIES)
def test_a_member_whose_system_refuses_is_not(probe, family, host):
    with bound(family, host) as server:
        port = server.getsockname()[1]
    assert probe(host, port).returncode == 1


@pytest.mark.parametrize("arguments", [("127.0.0.1", "no-port"), ("", "")])
def test_nonsense_is_not_there(probe, arguments):
    assert probe(*arguments).returncode == 1
