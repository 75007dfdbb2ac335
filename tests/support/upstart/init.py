# SPDX-License-Identifier: Apache-2.0
"""An emulator of upstart's init for services: ``init.py JOB_DIRECTORY LOG_DIRECTORY SOCKET [options]``.

It does what was observed of upstart 1.13.2, and what init(5), initctl(8) and upstart-events(7) say. It
needs only Python's standard library and no privileges, runs in the foreground, and writes ``ready`` to its
standard output once commands are answered and the boot's events have been told. Its log has the form of
/dev/kmsg, which is where the real one writes.

Not there: events that block (``starting``, ``stopping``), the operator ``and``, ``console`` other than
log, user jobs, D-Bus.

SIGTERM plays a shutdown: jobs that stop on runlevel 6 are stopped, the rest is killed. SIGKILL plays
nothing: the jobs live on without a parent, which cannot happen to a real machine.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path

from commands import Commands, Reply
from instance import Instance, become_subreaper, reserve_script_descriptor
from job_file import Job, JobSyntaxError, matches, parse_job

_TICK = 0.05
_SHUTDOWN_TIMEOUT = 20.0


class Classes:
    """The jobs that the files of a directory define, looked at anew whenever somebody asks."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, tuple[str, str]] = {}
        self._jobs: dict[str, Job] = {}

    def refresh(self) -> None:
        """Read what has changed. init learns it at once by inotify(7), so asking late makes no difference."""
        found = {path.stem: self._texts(path) for path in self._directory.glob("*.conf")}
        for name in self._jobs.keys() - found.keys():
            del self._jobs[name]
        for name, texts in found.items():
            if self._seen.get(name) == texts and name in self._jobs:
                continue
            try:
                self._jobs[name] = parse_job(name, *texts)
            except JobSyntaxError:
                self._jobs.pop(name, None)
        self._seen = found

    def get(self, name: str) -> Job | None:
        """Return a job as its file says now."""
        return self._jobs.get(name)

    def all(self) -> list[Job]:
        """Return all jobs, in no order that means anything."""
        return list(self._jobs.values())

    def _texts(self, path: Path) -> tuple[str, str]:
        override = path.with_suffix(".override")
        return _read(path), _read(override)


class Init:
    """Holds the running instances and moves them along."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.classes = Classes(options.job_directory)
        self.instances: dict[tuple[str, str], Instance] = {}
        self.stopping = False
        self._log_directory = options.log_directory
        self._kernel_log = options.kernel_log
        self._sequence = 0

    def emit(self, event: str, arguments: dict[str, str]) -> None:
        """Tell an event: jobs that wait for it stop or start."""
        self.classes.refresh()
        for instance in list(self.instances.values()):
            if matches(instance.job.stop_on, event, arguments):
                instance.change_goal("stop")
        for job in self.classes.all():
            if not self.stopping and matches(job.start_on, event, arguments):
                extra = [f"{name}={value}" for name, value in arguments.items()]
                self.start(job, extra)

    def start(self, job: Job, extra: list[str]) -> None:
        """Want the instance of a job to run that these variables name."""
        environment = dict(entry.partition("=")[::2] for entry in (*job.environment, *extra))
        name = job.instance
        if name.startswith("$"):
            name = environment.get(name.removeprefix("$"), "")
        instance = self.instances.get((job.name, name)) or self.prepare(job, name, extra)
        instance.change_goal("start")

    def prepare(self, job: Job, name: str, extra: list[str]) -> Instance:
        """Return a new instance, at rest still."""
        instance = Instance(job, name, extra, self._log_directory, self.note, self.emit, self._forget)
        self.instances[job.name, name] = instance
        return instance

    def reap(self) -> None:
        """Take note of all children that have ended, orphans of jobs among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for instance in list(self.instances.values()):
                if pid in instance.pids.values():
                    instance.ended(pid, status)

    def note(self, text: str) -> None:
        """Write a line to the kernel's log, or to a file as the kernel's log would be read.

        That is ``PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;init: TEXT``.
        """
        if self._kernel_log is None:
            return
        self._sequence += 1
        line = f"<4>init: {text}\n"
        if not self._kernel_log.is_char_device():
            line = f"4,{self._sequence},{time.monotonic_ns() // 1000},-;init: {text}\n"
        descriptor = os.open(self._kernel_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def _forget(self, instance: Instance) -> None:
        del self.instances[instance.job.name, instance.name]


class Server:
    """Answers commands on a socket, one JSON line each way and connection."""

    def __init__(self, init: Init, path: Path) -> None:
        self._init = init
        self._commands = Commands(init)
        self._selector = selectors.DefaultSelector()
        self._due: list[tuple[float, socket.socket, Reply]] = []
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._wake_sender = wake
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._shut_down)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        self._shutdown_began = 0.0

    def run(self) -> None:
        """Serve until a shutdown is complete."""
        while not self._is_down():
            # An answer that is due in a moment is not to wait for a whole tick.
            for key, _ in self._selector.select(_TICK / 10 if self._due else _TICK):
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake:
                    self._drain()
            self._init.reap()
            for instance in list(self._init.instances.values()):
                instance.tick()
            self._send_due()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(5)
        with connection.makefile("rb") as stream:
            line = stream.readline()
        if not line:
            connection.close()
            return
        request = json.loads(line)
        self._init.classes.refresh()
        self._commands.run(
            request["as"], request["arguments"], lambda delay, reply: self._answer(delay, connection, reply)
        )

    def _answer(self, delay: float, connection: socket.socket, reply: Reply) -> None:
        self._due.append((time.monotonic() + delay, connection, reply))

    def _send_due(self) -> None:
        now = time.monotonic()
        due = [entry for entry in self._due if entry[0] <= now]
        self._due = [entry for entry in self._due if entry[0] > now]
        for _, connection, reply in due:
            with connection:
                try:
                    connection.sendall(json.dumps(reply()).encode() + b"\n")
                except OSError:
                    # The client was killed: init goes on with what it was told.
                    continue

    def _drain(self) -> None:
        try:
            self._wake.recv(4096)
        except BlockingIOError:
            return

    def _shut_down(self, *_: object) -> None:
        if not self._init.stopping:
            self._init.stopping = True
            self._shutdown_began = time.monotonic()
            self._init.emit("runlevel", {"RUNLEVEL": "6", "PREVLEVEL": "2"})

    def _is_down(self) -> bool:
        if not self._init.stopping:
            return False
        late = time.monotonic() - self._shutdown_began > _SHUTDOWN_TIMEOUT
        return late or not any(instance.goal == "stop" for instance in self._init.instances.values())


def kill_descendants() -> None:
    """End everything that init is an ancestor of, as a machine does that goes down."""
    while children := _children(os.getpid()):
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                continue


def _children(parent: int) -> list[int]:
    children = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _read(Path("/proc", entry, "stat")).rpartition(")")[2].split()
            if fields and int(fields[1]) == parent:
                children.append(int(entry))
    return children


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description="Emulate upstart's init")
    parser.add_argument("job_directory", type=Path)
    parser.add_argument("log_directory", type=Path)
    parser.add_argument("socket", type=Path)
    parser.add_argument("--runlevel", default="2", help="runlevel to boot into; empty: none")
    parser.add_argument("--kernel-log", type=Path, help="file, or /dev/kmsg, for init's own messages")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Boot, serve, shut down."""
    options = parse(arguments)
    become_subreaper()
    reserve_script_descriptor()
    os.umask(0o022)
    init = Init(options)
    server = Server(init, options.socket)
    init.emit("startup", {})
    if options.runlevel:
        init.emit("runlevel", {"RUNLEVEL": options.runlevel, "PREVLEVEL": "N"})
    print("ready", flush=True)
    server.run()
    kill_descendants()


if __name__ == "__main__":
    main(sys.argv[1:])
