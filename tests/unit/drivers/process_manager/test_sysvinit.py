# SPDX-License-Identifier: Apache-2.0
"""Where the sysvinit process manager says that it cannot work, and why."""

import os

import pytest

from amphora.drivers.process_manager import sysvinit
from amphora.drivers.process_manager.sysvinit import SysvinitProcessManager
from amphora.errors import CommandTimeout, DriverUnavailable
from amphora.system.command import CommandResult, CommandRunner


class Helpful(CommandRunner):
    """Answers each command with the same help text."""

    def __init__(self, text="      --notify-await            wait for a readiness notification"):
        self.text = text

    def run(self, argv, *, timeout, namespace="", environment=None):
        if isinstance(self.text, Exception):
            raise self.text
        return CommandResult(tuple(argv), 0, self.text)


@pytest.fixture
def root(short_dir, monkeypatch):
    """What a machine with sysvinit looks like to the driver."""
    for directory in ("etc/init.d", "run", "dev", "proc/1", "bin"):
        (short_dir / directory).mkdir(parents=True)
    (short_dir / "proc/1/comm").write_text("init\n")
    os.mkfifo(short_dir / "run/initctl")
    for tool in ("update-rc.d", "start-stop-daemon"):
        (short_dir / "bin" / tool).touch(mode=0o755)
    monkeypatch.setattr(sysvinit, "SEARCH_PATH", str(short_dir / "bin"))
    return short_dir


def check(root, runner=None):
    manager = SysvinitProcessManager(root / "state", runner or Helpful(), root)
    try:
        manager.check_available()
    finally:
        manager.close()


def refusal(root, runner=None):
    with pytest.raises(DriverUnavailable) as caught:
        check(root, runner)
    return caught.value.details


def test_is_available_on_a_machine_of_its_kind(root):
    check(root)
    os.rename(root / "run/initctl", root / "dev/initctl")
    check(root)


def test_another_init_is_named(root):
    (root / "proc/1/comm").write_text("systemd\n")
    assert refusal(root) == "process 1 of this machine is systemd, not sysvinit's init"


def test_an_init_without_the_fifo_is_another_one(root):
    (root / "run/initctl").unlink()
    (root / "run/initctl").touch()
    assert "does not listen at /run/initctl" in refusal(root)


def test_hidden_process_1_is_reported(root):
    (root / "proc/1/comm").unlink()
    assert "process 1 of this machine cannot be read" in refusal(root)


@pytest.mark.parametrize("tool", ["update-rc.d", "start-stop-daemon"])
def test_missing_tool_is_named(root, tool):
    (root / "bin" / tool).unlink()
    assert f"{tool} is in none of {root}/bin" in refusal(root)


def test_missing_directory_is_named(root):
    (root / "etc/init.d").rmdir()
    assert refusal(root) == f"init scripts in {root}/etc/init.d cannot be written"


def test_old_start_stop_daemon_is_refused(root):
    assert "knows no --notify-await" in refusal(root, Helpful("Usage: start-stop-daemon"))
    assert "did not finish" in refusal(root, Helpful(CommandTimeout(["start-stop-daemon"], 2)))
