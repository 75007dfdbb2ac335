# SPDX-License-Identifier: Apache-2.0
"""The checks of SCTP members, and of this node's listeners for UDP and SCTP."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading

import pytest

from amphora.lvs.check_scripts import render_node_check
from amphora.system.sctp import packet

HERE = {"v4": "127.0.0.1", "v6": "::1"}
SCTP_PORT = 7 + os.getpid() % 50000


def status(*argv):
    return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode


@pytest.fixture
def node_check(memory_dir):
    (memory_dir / "lvs").mkdir()
    path = memory_dir / "lvs_udp_check.sh"
    path.write_text(render_node_check(memory_dir / "lvs"))
    return path


def test_listeners_whose_keepalived_has_ended(node_check, memory_dir):
    assert status("bash", node_check) == 0
    program = memory_dir / "keepalived"
    shutil.copy(shutil.which("sleep"), program)
    with subprocess.Popen([program, "60"]) as running:
        try:
            (memory_dir / "lvs/a.pid").write_text(f"{running.pid}\n")
            (memory_dir / "lvs/a.vrrp.pid").write_text("1\n")
            assert status("bash", node_check) == 0
            # The id of a process that ended may be anybody's.
            (memory_dir / "lvs/b.pid").write_text(f"{os.getpid()}\n")
            (memory_dir / "lvs/c.pid").write_text("4194399\n")
            (memory_dir / "lvs/d.pid").write_text("")
            assert status("bash", node_check) == 3
        finally:
            running.kill()


@contextlib.contextmanager
def sctp_member(address, chunk):
    """Answers what comes to the port by one chunk; None: not at all. Yields the chunk types that came."""
    kind = socket.AF_INET6 if ":" in address else socket.AF_INET
    came = []
    with socket.socket(kind, socket.SOCK_RAW, 132) as raw:
        raw.bind((address, 0))

        def serve():
            while True:
                data, sender = raw.recvfrom(4096)
                data = data[20:] if kind == socket.AF_INET else data
                if int.from_bytes(data[2:4], "big") != SCTP_PORT:
                    if data == b"end":
                        return
                    continue
                came.append(data[12])
                if chunk is not None and data[12] == 1:
                    source = int.from_bytes(data[:2], "big")
                    tag = int.from_bytes(data[16:20], "big")
                    raw.sendto(packet(SCTP_PORT, source, tag, chunk), (sender[0], 0))

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield came
        finally:
            raw.sendto(b"end", (address, 0))
            thread.join()


@pytest.mark.parametrize(
    ("chunk", "expected", "wait"),
    [
        (bytes([2, 0, 0, 20]) + bytes([0, 0, 0, 9]) + bytes(12), 0, "20"),
        (bytes([6, 0, 0, 4]), 1, "20"),
        (None, 2, "0.3"),
        (bytes([3, 0, 0, 4]), 3, "20"),
    ],
)
@pytest.mark.parametrize("family", HERE)
def test_an_sctp_member(family, chunk, expected, wait):
    argv = [sys.executable, "-m", "amphora.cmd.health_checker", "sctp", "-t", wait, HERE[family]]
    with sctp_member(HERE[family], chunk) as came:
        assert status(*argv, str(SCTP_PORT)) == expected
    # Whoever offers an association is told that it is not wanted.
    assert came == ([1, 6] if expected == 0 and not os.path.exists("/proc/net/sctp") else [1])
