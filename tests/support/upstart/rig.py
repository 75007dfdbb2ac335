# SPDX-License-Identifier: Apache-2.0
"""An emulated upstart for tests: a directory with jobs, logs and commands, and init as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from amphora.drivers.process_manager.upstart import UpstartProcessManager
from amphora.system.command import CommandRunner
from amphora.system.processes import children_of, identify

_HERE = Path(__file__).parent
_LINKS = ("start", "stop", "restart", "reload", "status")
_CLIENT = """#!/bin/sh
exec {python} -I -S {client} {socket} "${{0##*/}}" "$@"
"""


class Upstart:
    """A machine's init. Jobs are its children, so they outlive whoever talks to it.

    :param directory: short, as it comes to hold a socket (unix(7)).
    :param python: an interpreter that exists where init and its commands will run.
    :param root: with it files are at their usual places below, ``etc/init``, ``var/log/upstart`` and
        ``sbin``. For a program that runs inside a container or mount namespace of its own: ``Path("/")``.
    :ivar jobs: as /etc/init.
    :ivar logs: as /var/log/upstart.
    :ivar kernel_log: as /dev/kmsg.
    :ivar initctl: as /sbin/initctl; ``start`` and the others are beside it.
    """

    def __init__(self, directory: Path, python: str = sys.executable, root: Path | None = None) -> None:
        self.jobs = directory / "init" if root is None else root / "etc/init"
        self.logs = directory / "log" if root is None else root / "var/log/upstart"
        self.kernel_log = directory / "kmsg"
        self.initctl = (directory if root is None else root) / "sbin" / "initctl"
        self._socket = directory / "upstart.sock"
        self._python = python
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """The id of init."""
        assert self._process is not None
        return self._process.pid

    def install(self) -> None:
        """Make the directories and commands; safe to repeat."""
        for path in (self.jobs, self.logs, self.initctl.parent):
            path.mkdir(parents=True, exist_ok=True)
        self.kernel_log.touch()
        self.initctl.write_text(
            _CLIENT.format(python=self._python, client=_HERE / "initctl.py", socket=self._socket),
            encoding="utf-8",
        )
        self.initctl.chmod(0o755)
        for name in _LINKS:
            link = self.initctl.with_name(name)
            if not link.is_symlink():
                link.symlink_to(self.initctl.name)

    def init_argv(self, runlevel: str = "2") -> list[str]:
        """Return the command that is init; it prints ``ready`` and stays in the foreground."""
        return [
            *(self._python, "-S", str(_HERE / "init.py")),
            *(str(self.jobs), str(self.logs), str(self._socket)),
            *("--runlevel", runlevel, "--kernel-log", str(self.kernel_log)),
        ]

    def boot(self, runlevel: str = "2") -> None:
        """Start init and wait until the boot's events have been told; the jobs may still be starting."""
        self.install()
        self._process = subprocess.Popen(
            self.init_argv(runlevel),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def shut_down(self) -> None:
        """Go down in good order, if it runs."""
        if self._process is None:
            return
        with self._process as process:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        self._process = None

    def kill(self) -> None:
        """Lose power: init and everything below it is gone at once."""
        if self._process is None:
            return
        with self._process as process:
            # Stopped first, so that it starts nothing again.
            process.send_signal(signal.SIGSTOP)
            while living := [pid for pid in _descendants(process.pid) if identify(pid) is not None]:
                for pid in living:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            process.kill()
            process.wait(30)
        self._process = None

    def run(self, command: str, *arguments: str) -> tuple[int, str, str]:
        """Run ``initctl`` or one of its links; return exit status, output and errors."""
        done = subprocess.run(
            [str(self.initctl.with_name(command)), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def job(self, name: str, *lines: str) -> None:
        """Write a job file; init sees it at once."""
        (self.jobs / f"{name}.conf").write_text("\n".join((*lines, "")), encoding="utf-8")


@contextlib.contextmanager
def booted_upstart(directory: Path) -> Iterator[Upstart]:
    """Boot an emulated upstart with its files below a directory; afterwards nothing of it runs."""
    machine = Upstart(directory)
    machine.boot()
    try:
        yield machine
    finally:
        machine.kill()


def _descendants(pid: int) -> list[int]:
    found = []
    for child in children_of(pid):
        found += [child, *_descendants(child)]
    return found


def upstart_driver(
    machine: Upstart, state_directory: Path, stable_after: float = 10.0
) -> UpstartProcessManager:
    """Return the driver over an emulated machine."""
    return UpstartProcessManager(
        CommandRunner(),
        state_directory,
        job_directory=machine.jobs,
        log_directory=machine.logs,
        initctl=machine.initctl,
        kernel_log=machine.kernel_log,
        stable_after=stable_after,
    )
