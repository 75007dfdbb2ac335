# SPDX-License-Identifier: Apache-2.0
"""Making a namespace, beside other processes of this machine."""

import contextlib
import os
import subprocess
import sys
import threading

import pytest

from amphora.system import namespaces
from amphora.system.command import CommandRunner

#: An account without any right.
NOBODY = 65534

#: Opens and locks what it can of its arguments; says how many that were, and holds them until its input ends.
STRANGER = """
import fcntl, os, sys
os.setgroups([])
os.setgid({nobody})
os.setuid({nobody})
held = []
for path in sys.argv[1:]:
    try:
        held.append(os.open(path, os.O_RDONLY))
    except PermissionError:
        continue
    fcntl.flock(held[-1], fcntl.LOCK_EX)
print(len(held), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked_by_a_stranger(*paths):
    """Let another user lock what they can of these paths; yield how many they got."""
    argv = [sys.executable, "-I", "-c", STRANGER.format(nobody=NOBODY), *map(str, paths)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield int(process.stdout.readline())
        process.stdin.close()


@pytest.fixture
def name():
    name = f"amp-lock-{os.getpid()}"
    yield name
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


def test_a_local_user_cannot_keep_a_namespace_from_being_made(name):
    run = namespaces.NAMESPACE_DIRECTORY.parent
    with locked_by_a_stranger(run, *run.glob("amphora*")) as count:
        assert count
        made = threading.Thread(target=namespaces.ensure, args=(name, {}, CommandRunner()))
        made.start()
        made.join(10)
        assert not made.is_alive()
    assert namespaces.exists(name)


def test_the_lock_is_a_file_that_only_root_can_open(name):
    namespaces.ensure(name, {}, CommandRunner())
    status = namespaces.LOCK.stat()
    assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o600)
    assert namespaces.LOCK.parent.stat().st_uid == 0
    with locked_by_a_stranger(namespaces.LOCK) as count:
        assert count == 0
