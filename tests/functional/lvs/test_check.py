# SPDX-License-Identifier: Apache-2.0
"""keepalived's own check of what controllers write, from within the namespace."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from amphora.errors import InvalidConfiguration
from amphora.keepalived.program import KeepalivedProgram, LvsProgram
from amphora.system.command import CommandRunner
from tests.support.lvs import with_members

GOLDEN = Path(__file__).parents[2] / "unit" / "lvs" / "data"

#: From 2.3 on keepalived says of more of its words where they belong.
FINE = re.compile(
    r"(\(uploaded\.conf: Line \d+\) )?"
    r"(Configuration file is valid|SECURITY VIOLATION - check scripts|Virtual server \[ipv4-group\])"
)


@pytest.fixture
def check(short_dir):
    namespace = f"amp-lvsc-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True, timeout=10)
    program = LvsProgram(KeepalivedProgram(Path("/usr/sbin/keepalived"), CommandRunner()), namespace)
    file = short_dir / "staged.conf"

    def check(data):
        file.write_bytes(data)
        return program.check(file, {str(file): "uploaded.conf"})

    yield check
    subprocess.run(["ip", "netns", "del", namespace], timeout=10, capture_output=True)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.conf")), ids=lambda path: path.stem)
def test_what_controllers_write_is_accepted(check, short_dir, path):
    script = short_dir / "udp_check.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o100)
    data = path.read_bytes().replace(b"/var/lib/octavia/lvs/check/udp_check.sh", str(script).encode())
    assert FINE.match(check(data))


@pytest.mark.parametrize(
    ("right", "wrong", "words"),
    [
        (b"weight 1", b"wait 1", "Unknown keyword 'wait'"),
        (b"lb_algo wrr", b"lb_algo odd", "Invalid lvs_scheduler 'odd'"),
        (b"203.0.113.2 53", b"203.0.113.256 53", "Invalid virtual server group IP address"),
        (b"    }\n", b"", "missing '}'"),
    ],
)
def test_what_keepalived_would_run_otherwise_is_refused(check, right, wrong, words):
    # The namespace that it names does not exist: of that alone keepalived would say nothing at all.
    with pytest.raises(InvalidConfiguration, match=words):
        check(with_members(1).replace(right, wrong, 2))
