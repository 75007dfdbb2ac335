# SPDX-License-Identifier: Apache-2.0
"""One running instance of a job: the goal, the state and the way between states (init(5), "Job States")."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from job_file import Job, Process

_SHELL_CHARACTERS = set("~`!$^&*()=|\\{}[];\"'<>?")
_SCRIPT_DESCRIPTOR = 9
_LIMITS = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC, "core": resource.RLIMIT_CORE}

_AFTER = {
    ("starting", "start"): "pre-start",
    ("pre-start", "start"): "spawned",
    ("spawned", "start"): "post-start",
    ("post-start", "start"): "running",
    ("running", "start"): "stopping",
    ("pre-stop", "stop"): "stopping",
    ("pre-stop", "start"): "running",
    ("stopping", "stop"): "killed",
    ("stopping", "start"): "killed",
    ("killed", "stop"): "post-stop",
    ("killed", "start"): "post-stop",
    ("post-stop", "stop"): "waiting",
    ("post-stop", "start"): "starting",
}


class Instance:
    """A job between its start and its rest.

    :param note: writes a line to init's own log.
    :param emit: tells the world an event.
    :param forget: called once it is at rest.
    """

    def __init__(
        self,
        job: Job,
        name: str,
        extra: list[str],
        log_directory: Path,
        note: Callable[[str], None],
        emit: Callable[[str, dict[str, str]], None],
        forget: Callable[[Instance], None],
    ) -> None:
        self.job = job
        self.name = name
        self.goal = "stop"
        self.state = "waiting"
        self.pids: dict[str, int] = {}
        self.kill_at: float | None = None
        #: Called with whether it failed, when it runs, rests or fails.
        self.waiting: list[Callable[[bool], None]] = []
        self._extra = extra
        self._log_directory = log_directory
        self._note = note
        self._emit = emit
        self._forget = forget
        self._failed = ""
        self._is_following = False
        self._respawns = 0
        self._respawn_began = -1e9

    @property
    def title(self) -> str:
        """The name as it stands in messages."""
        return f"{self.job.name} ({self.name})" if self.name else self.job.name

    def describe(self) -> str:
        """Return the line of ``initctl status``."""
        line = f"{self.title} {self.goal}/{self.state}"
        # A step's own process stands before the main one.
        pid = self.pids.get(self.state) or self.pids.get("main")
        return f"{line}, process {pid}" if pid else line

    def change_goal(self, goal: str) -> None:
        """Want something else; from a state of rest or of running it begins at once."""
        if goal == self.goal:
            return
        self.goal = goal
        if goal == "start":
            self._failed = ""
            if self.state == "waiting":
                self._enter("starting")
        elif self.state == "running":
            self._enter("pre-stop" if "main" in self.pids else "stopping")

    def ended(self, pid: int, status: int) -> None:
        """Take note that a process of this instance has ended, with a status of waitpid(2)."""
        process = next(name for name, known in self.pids.items() if known == pid)
        self._report(process, pid, status)
        if process == "main" and self.state == "spawned" and self.job.expect:
            # The job stays where it is until the forks have happened that it promises.
            del self.pids["main"]
            self._is_following = True
            return
        del self.pids[process]
        moves, stops = True, False
        if process == "main":
            self.kill_at = None
            moves, stops = self._main_ended(status)
        elif process in ("pre-start", "post-stop") and status:
            self._fail(process)
            stops = True
        if stops and self.state == "running":
            self.change_goal("stop")
            return
        if stops:
            self.goal = "stop"
        if moves:
            self._next()

    def tick(self) -> None:
        """Kill what has not ended in time, and look for a daemon that is to come."""
        if self._is_following:
            self._follow_daemon()
        if self.kill_at is not None and time.monotonic() >= self.kill_at:
            self.kill_at = None
            self._signal_group(signal.SIGKILL)

    def _main_ended(self, status: int) -> tuple[bool, bool]:
        """Return whether to leave the state, and whether to stop."""
        if self.state == "killed":
            return True, False
        if self.state == "stopping" or self.state in self.pids:
            return False, False
        code = os.waitstatus_to_exitcode(status)
        is_failure = bool(code) or (self.job.respawn and not self.job.task)
        if is_failure and self.goal == "start" and not self._is_normal(code):
            if self.job.respawn and not self._is_runaway():
                self._note(f"{self.title} main process ended, respawning")
                return True, False
            if self.job.respawn:
                self._note(f"{self.title} respawning too fast, stopped")
            self._fail("respawn" if self.job.respawn else "main")
        return True, True

    def _is_normal(self, code: int) -> bool:
        key = code if code >= 0 else signal.Signals(-code).name.removeprefix("SIG")
        return key in self.job.normal_exit

    def _is_runaway(self) -> bool:
        now = time.monotonic()
        if not self.job.respawn_limit or int(now - self._respawn_began) >= self.job.respawn_interval:
            self._respawn_began, self._respawns = now, 1
            return False
        self._respawns += 1
        return self._respawns > self.job.respawn_limit

    def _next(self) -> None:
        if self.state == "running" and self.goal == "stop":
            self._enter("pre-stop" if "main" in self.pids else "stopping")
        else:
            self._enter(_AFTER.get((self.state, self.goal), "stopping"))

    def _enter(self, state: str) -> None:
        self.state = state
        getattr(self, "_enter_" + state.replace("-", "_"))()

    def _enter_starting(self) -> None:
        self._emit("starting", self._event())
        self._next()

    def _enter_pre_start(self) -> None:
        self._step("pre-start", must_run=True)

    def _enter_spawned(self) -> None:
        if "main" in self.job.processes and not self._run("main"):
            self._fail("main")
            self.goal = "stop"
            self._next()
        elif not self.job.expect:
            self._next()

    def _enter_post_start(self) -> None:
        self._step("post-start", must_run=False)

    def _enter_running(self) -> None:
        if self.goal == "start" and "main" in self.job.processes and "main" not in self.pids:
            # It ended while post-start ran.
            self._next()
            return
        self._emit("started", self._event())
        if not self.job.task:
            self._finish(failed=False)

    def _enter_pre_stop(self) -> None:
        self._step("pre-stop", must_run=False)

    def _enter_stopping(self) -> None:
        self._emit("stopping", self._event() | {"RESULT": "failed" if self._failed else "ok"})
        self._next()

    def _enter_killed(self) -> None:
        if "main" not in self.pids:
            self._next()
            return
        self.kill_at = time.monotonic() + self.job.kill_timeout
        self._signal_group(self.job.kill_signal)

    def _enter_post_stop(self) -> None:
        self._step("post-stop", must_run=True)

    def _enter_waiting(self) -> None:
        self._emit("stopped", self._event() | {"RESULT": "failed" if self._failed else "ok"})
        self._forget(self)
        self._finish(failed=False)

    def _step(self, process: str, *, must_run: bool) -> None:
        if process not in self.job.processes:
            self._next()
        elif not self._run(process):
            if must_run:
                self._fail(process)
                self.goal = "stop"
            self._next()

    def _fail(self, process: str) -> None:
        if not self._failed:
            self._failed = process
            self._finish(failed=True)

    def _finish(self, *, failed: bool) -> None:
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call(failed)

    def _event(self) -> dict[str, str]:
        return {"JOB": self.job.name, "INSTANCE": self.name}

    def _report(self, process: str, pid: int, status: int) -> None:
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            name = signal.Signals(-code).name.removeprefix("SIG")
            self._note(f"{self.title} {process} process ({pid}) killed by {name} signal")
        elif code > 0:
            self._note(f"{self.title} {process} process ({pid}) terminated with status {code}")

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(os.getpgid(self.pids["main"]), number)
        except ProcessLookupError:
            return

    def _follow_daemon(self) -> None:
        """Take for the main process what was forked last, even where init is not its parent.

        After one fork for ``expect fork``, after two for ``expect daemon``, whoever has made the second.
        """
        mark = f"UPSTART_JOB={self.job.name}".encode()
        members = {pid for pid in _process_ids() if mark in _proc(pid, "environ").split(b"\0")}
        if self.job.expect == "daemon":
            members = {pid for pid in members if _parent(pid) in members}
        if members:
            self._is_following = False
            self.pids["main"] = max(members)
            self._next()

    def environment(self) -> dict[str, str]:
        """Return what a process of this job finds in its environment."""
        environment = {name: os.environ[name] for name in ("PATH", "TERM") if name in os.environ}
        environment.setdefault("TERM", "linux")
        for entry in (*self.job.environment, *self._extra):
            name, _, value = entry.partition("=")
            environment[name] = value
        return environment | {"UPSTART_JOB": self.job.name, "UPSTART_INSTANCE": self.name}

    def _run(self, process: str) -> bool:
        what = self.job.processes[process]
        script = _script_file(what)
        log = os.open(
            self._log_directory / f"{self.job.name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640
        )
        try:
            started = subprocess.Popen(
                _argv(what),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                cwd=self.job.directory,
                umask=self.job.umask,
                start_new_session=True,
                # All descriptors of Python close by themselves, but for the one that set_up makes.
                close_fds=False,
                preexec_fn=lambda: self._set_up(script),
            )
        except (OSError, subprocess.SubprocessError) as error:
            self._note(f"Failed to spawn {self.title} {process} process: unable to execute: {error}")
            return False
        finally:
            os.close(log)
            if script is not None:
                os.close(script)
        # init reaps all its children in one place.
        started.returncode = 0
        self.pids[process] = started.pid
        return True

    def _set_up(self, script: int | None) -> None:
        if script is not None:
            os.dup2(script, _SCRIPT_DESCRIPTOR)
        for name, values in self.job.limits.items():
            resource.setrlimit(_LIMITS[name], values)


def _process_ids() -> list[int]:
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit()]


def _parent(pid: int) -> int:
    fields = _proc(pid, "stat").rpartition(b")")[2].split()
    return int(fields[1]) if fields else 0


def _proc(pid: int, name: str) -> bytes:
    try:
        return Path("/proc", str(pid), name).read_bytes()
    except OSError:
        return b""


def _argv(what: Process) -> list[str]:
    if what.is_script:
        text = what.text.rstrip("\n")
        if "\n" in text:
            return ["/bin/sh", "-e", f"/proc/self/fd/{_SCRIPT_DESCRIPTOR}"]
        return ["/bin/sh", "-e", "-c", text, "/bin/sh"]
    if _SHELL_CHARACTERS & set(what.text):
        return ["/bin/sh", "-e", "-c", f"exec {what.text}", "/bin/sh"]
    return what.text.split()


def _script_file(what: Process) -> int | None:
    """Return a descriptor with a script of several lines, which its shell inherits and keeps open."""
    if not what.is_script or "\n" not in what.text.rstrip("\n"):
        return None
    descriptor = os.memfd_create("script")
    os.write(descriptor, what.text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def become_subreaper() -> None:
    """Be the parent of orphans below, as process 1 is (PR_SET_CHILD_SUBREAPER, prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def reserve_script_descriptor() -> None:
    """Keep the number free for scripts; the copy made here closes by itself in children."""
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    if null != _SCRIPT_DESCRIPTOR:
        os.dup2(null, _SCRIPT_DESCRIPTOR, inheritable=False)
        os.close(null)
