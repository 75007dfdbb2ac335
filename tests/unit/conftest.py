# SPDX-License-Identifier: Apache-2.0
"""Unit tests run no commands: an attempt ends the test, whatever handlers the code has."""

import os
import subprocess

import pytest


class CommandForbidden(BaseException):
    """Derived from BaseException so that no ``except Exception`` swallows it."""


@pytest.fixture(autouse=True)
def forbid_commands(request, monkeypatch):
    if request.node.get_closest_marker("real_commands"):
        return

    def refuse(*args, **_kwargs):
        raise CommandForbidden(f"a unit test tried to run a command: {args!r}")

    for owner, name in ((subprocess, "Popen"), (os, "system"), (os, "posix_spawn"), (os, "fork")):
        monkeypatch.setattr(owner, name, refuse)
