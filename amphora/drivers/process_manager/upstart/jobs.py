# SPDX-License-Identifier: Apache-2.0
"""Services as upstart job files (init(5)): rendered, stored, and the processes that they have recorded.

Words of commands stand in script blocks only: there the shell alone interprets them, while upstart's own
quoting, which holds elsewhere in the file, cannot express a newline.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.launcher import notify_path
from amphora.drivers.process_manager.members import MARKER
from amphora.drivers.process_manager.records import current_boot_id, noted_process
from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.specs import MARK, SpecFiles, SpecFormat
from amphora.models import Readiness, ServiceSpec
from amphora.system import files
from amphora.system.command import clean_environment, in_namespace
from amphora.system.processes import ProcessIdentity

_SUFFIX = ".conf"
JOB = SpecFormat("job", header=MARK, prefix="# Spec: ")

#: The whole of an override file that keeps a stopped service from starting.
MANUAL = f"{MARK}\nmanual\n"

_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./,@+:=-]*")
# The shell's own IFS and the variables of the scripts here are excluded.
_PLAIN_NAME = re.compile(r"(?!IFS\b)[A-Z_][A-Z0-9_]*")
_PLAIN_WORD = re.compile(r"[A-Za-z0-9_./,@+:=-]+")

# What upstart adds to the environment of a job.
_UPSTARTS_OWN = ("TERM", "UPSTART_EVENTS", "UPSTART_INSTANCE", "UPSTART_JOB")

# Upstart hands a script of several lines to the shell by this descriptor, which would stay open.
_CLOSE_SCRIPT = "9<&-"

_NEWLINE = "_amphora_newline"

# Not by the stanza ``limit``: where the limit cannot be raised, as in containers, no job with it starts.
_RAISE_FILE_LIMIT = 'ulimit -n 1048576 2>/dev/null || ulimit -n "$(ulimit -H -n)"'


@dataclass(frozen=True, slots=True)
class JobPaths:
    """Where the files of one service are.

    :ivar conf: its job file.
    :ivar override: keeps it from starting while it is there.
    :ivar record: written by the job: id, start time and boot of the main process.
    :ivar notify: socket for reports of readiness.
    :ivar mark: value of the variable that marks its processes.
    """

    conf: Path
    override: Path
    record: Path
    notify: Path
    mark: str

    @classmethod
    def of(cls, name: str, job_directory: Path, state_directory: Path) -> JobPaths:
        """Return the files of a service with this name."""
        return cls(
            conf=job_directory / f"{name}.conf",
            override=job_directory / f"{name}.override",
            record=state_directory / f"{name}.process",
            notify=notify_path(state_directory, name),
            mark=str(state_directory / name),
        )


class JobStore(SpecFiles):
    """Job files in one directory, records of their processes in another."""

    def __init__(self, job_directory: Path, state_directory: Path) -> None:
        super().__init__(job_directory, _SUFFIX, JOB)
        self._state = state_directory

    @as_service_error()
    def prepare(self) -> None:
        """Make the directory of state and remove what interrupted writes left in both.

        :raises ServiceError: that is not possible.
        """
        files.ensure_directory(self._state, 0o700)
        files.sweep_temporaries(self._state)
        self.sweep()
        for path in map(self.directory.joinpath, files.file_names(self.directory)):
            # An override of the agent that an interrupted removal has left without its job.
            is_left = path.suffix == ".override" and not path.with_suffix(_SUFFIX).exists()
            if is_left and JOB.is_ours(files.read_if_present(path)):
                files.remove(path)

    def paths(self, name: str) -> JobPaths:
        """Return where the files of a service are."""
        return JobPaths.of(name, self.directory, self._state)

    def put_back(self, name: str, former: bytes | None) -> None:
        """Undo an installation, given the former content of the job file.

        :raises ServiceError: that could not be done.
        """
        if former is None:
            self.remove(name)
        else:
            self.write(name, former)

    @as_service_error()
    def install(self, spec: ServiceSpec) -> bool:
        """Write the job of a checked spec if it differs; a new one is stopped. Return whether it changed.

        :raises ServiceError: a file of another program is in the way, or nothing could be written.
        """
        paths = self.paths(spec.name)
        former = self.read_own(spec.name)
        # Refuses one of another program.
        JOB.read_own(paths.override)
        files.ensure_directory(self._state, 0o700)
        if former is None:
            # First, so that a machine that goes down in between does not start it at boot.
            self.set_wanted(spec.name, False)
        job = render_job(spec, paths).encode()
        if former == job:
            return False
        self.write(spec.name, job)
        return True

    def is_wanted(self, name: str) -> bool:
        """Whether a job should run now and after a boot."""
        return not self.paths(name).override.exists()

    @as_service_error()
    def set_wanted(self, name: str, wanted: bool) -> None:
        """Make a job start at boot, or not.

        :raises ServiceError: nothing was changed.
        """
        path = self.paths(name).override
        if wanted:
            files.remove(path)
        elif self.is_wanted(name):
            files.write_atomically(path, MANUAL.encode(), 0o644)

    def recorded(self, name: str) -> ProcessIdentity | None:
        """Return the main process the job has recorded since this boot, alive or not, or None."""
        return noted_process(self.paths(name).record, current_boot_id())

    @as_service_error()
    def forget_process(self, name: str) -> None:
        """Remove the record of a job's process; safe to repeat.

        :raises ServiceError: it is still there.
        """
        files.remove(self.paths(name).record)

    @as_service_error()
    def remove(self, name: str) -> None:
        """Remove all files of a job that does not run.

        The job file goes first: left alone, the override would do nothing.

        :raises ServiceError: something is still there.
        """
        paths = self.paths(name)
        for path in (paths.conf, paths.override, paths.record, paths.notify):
            files.remove(path)


def render_job(spec: ServiceSpec, paths: JobPaths) -> str:
    """Return the job file of a checked spec; equal arguments give equal text."""
    return "\n".join(
        (
            MARK,
            JOB.line(spec),
            f"description {_description(spec.description)}",
            "start on runlevel [2345]",
            "stop on runlevel [!2345]",
            *_stanzas(spec),
            "",
            *_block("pre-start script", _before(spec, paths)),
            "",
            *_block("script", _main(spec, paths)),
            "",
            *_block("post-stop script", _after(spec, paths)),
            "",
        )
    )


def quote_word(word: str) -> str:
    """Return a word as it must stand in a script to be taken literally; it stays on one line.

    One with a newline refers to a variable that :func:`render_job` sets first.
    """
    if _PLAIN_WORD.fullmatch(word):
        return word
    return "'" + word.replace("'", "'\\''").replace("\n", f"'\"${_NEWLINE}\"'") + "'"


def _stanzas(spec: ServiceSpec) -> Iterator[str]:
    if spec.restart.on_crash:
        # No ``normal exit``: a service that ends by itself is restarted, with any status.
        yield "respawn"
        yield "respawn limit 10 5"
    yield f"kill timeout {max(1, math.ceil(spec.stop_timeout))}"
    yield f"reload signal {spec.reload_signal.name.removeprefix('SIG')}"
    yield "console log"
    for name, value in _environment(spec):
        if _is_plain(name, value):
            yield f"env {name}={value}"


def _before(spec: ServiceSpec, paths: JobPaths) -> Iterator[str]:
    """Refuse to start what was stopped meanwhile, and what the check refuses."""
    stopped = f"[ -e {quote_word(str(paths.override))} ]"
    yield f"if {stopped}; then echo 'amphora-agent has stopped this service'; exit 1; fi"
    if spec.namespace:
        # At boot the agent makes it, maybe after this job has begun.
        yield "n=0"
        yield f"until ip netns exec {spec.namespace} true 2>/dev/null; do"
        yield f"    if {stopped} || [ $n -ge {_steps(spec.start_timeout, 0.2)} ]; then"
        yield f"        echo 'network namespace {spec.namespace} is missing'; exit 1"
        yield "    fi"
        yield "    n=$((n+1)); sleep 0.2"
        yield "done"
    if spec.check_argv:
        yield from _surroundings(spec, spec.check_argv)
        limit = max(1, math.ceil(spec.start_timeout))
        yield f"exec timeout -k 1 {limit} {_command(spec, spec.check_argv)} {_CLOSE_SCRIPT}"


def _main(spec: ServiceSpec, paths: JobPaths) -> Iterator[str]:
    """Record the process, then become the service."""
    yield _RAISE_FILE_LIMIT
    yield f"export {MARKER}={quote_word(paths.mark)}"
    yield "read -r boot < /proc/sys/kernel/random/boot_id"
    if spec.readiness is Readiness.FORKING:
        yield from _keeper(spec, paths)
        return
    yield from _recorded("$$", paths)
    # Not before: one of them may have the name of a variable used above.
    yield from _surroundings(spec, spec.argv)
    if spec.readiness is Readiness.NOTIFY:
        # Looked for after the record is written: who is listening then has not missed the record.
        socket = quote_word(str(paths.notify))
        yield f"if [ -S {socket} ]; then export NOTIFY_SOCKET={socket}; fi"
    yield f"exec {_command(spec, spec.argv)} {_CLOSE_SCRIPT}"


def _keeper(spec: ServiceSpec, paths: JobPaths) -> Iterator[str]:
    """Stay as long as the daemon lives, as ``expect daemon`` can follow the wrong process for ever."""
    pid_file = quote_word(str(spec.pid_file))
    yield f"rm -f {pid_file}"
    yield "("
    for line in _surroundings(spec, spec.argv):
        yield f"    {line}"
    yield f"    exec {_command(spec, spec.argv)} {_CLOSE_SCRIPT}"
    yield ")"
    yield "n=0"
    yield f"until [ -s {pid_file} ] && read -r pid < {pid_file} && [ -r /proc/$pid/stat ]; do"
    yield f"    [ $n -lt {_steps(spec.start_timeout, 0.1)} ] || exit 1"
    yield "    n=$((n+1)); sleep 0.1"
    yield "done"
    yield "trap 'kill -s TERM $pid' TERM"
    signal_name = spec.reload_signal.name.removeprefix("SIG")
    yield f"trap 'kill -s {signal_name} $pid' {signal_name}"
    yield from _recorded("$pid", paths)
    yield "born=${20}"
    yield "while read -r line < /proc/$pid/stat; do"
    yield "    set -- ${line##*) }"
    yield '    if [ "$1" = Z ] || [ "${20}" != "$born" ]; then break; fi'
    yield "    sleep 0.2 || true"
    yield "done 2>/dev/null"
    yield "exit 1"


def _recorded(pid: str, paths: JobPaths) -> Iterator[str]:
    yield f"read -r line < /proc/{pid}/stat"
    yield "set -- ${line##*) }"
    yield f'echo "{pid} ${{20}} $boot" > {quote_word(str(paths.record))}'


def _after(spec: ServiceSpec, paths: JobPaths) -> Iterator[str]:
    """End what the main process has left behind; upstart itself reaches its process group only."""
    pattern = quote_word(f"{MARKER}={paths.mark}")
    yield "n=0"
    yield "while [ $n -lt 30 ]; do"
    yield f"    found=$(grep -lszFx {pattern} /proc/[0-9]*/environ || true)"
    yield '    [ -n "$found" ] || break'
    yield "    for path in $found; do"
    yield "        pid=${path#/proc/}"
    yield "        kill -s KILL ${pid%/environ} 2>/dev/null || true"
    yield "    done"
    yield "    n=$((n+1)); sleep 0.1"
    yield "done"
    if spec.restart.on_crash and spec.restart.delay > 0:
        # Upstart starts again at once. A stop must not wait for that.
        step = min(0.5, spec.restart.delay)
        yield "n=0"
        override = quote_word(str(paths.override))
        yield f"while [ $n -lt {_steps(spec.restart.delay, step)} ] && [ ! -e {override} ]; do"
        yield f"    n=$((n+1)); sleep {step:.3f}"
        yield "done"


def _surroundings(spec: ServiceSpec, argv: tuple[str, ...]) -> Iterator[str]:
    environment = _environment(spec)
    awkward = [(name, value) for name, value in environment if not _is_plain(name, value)]
    if any("\n" in text for text in (*argv, *(value for _, value in awkward))):
        yield f"{_NEWLINE}=$(printf '\\nx'); {_NEWLINE}=${{{_NEWLINE}%x}}"
    given = {name for name, _ in environment}
    yield "unset " + " ".join(name for name in _UPSTARTS_OWN if name not in given)
    for name, value in awkward:
        yield f"export {name}={quote_word(value)}"


def _is_plain(name: str, value: str) -> bool:
    """Whether a variable can stand in a stanza of its own."""
    return bool(_PLAIN_NAME.fullmatch(name) and _PLAIN_VALUE.fullmatch(value))


def _environment(spec: ServiceSpec) -> list[tuple[str, str]]:
    return sorted(clean_environment(spec.environment).items())


def _command(spec: ServiceSpec, argv: tuple[str, ...]) -> str:
    return " ".join(quote_word(word) for word in in_namespace(argv, spec.namespace))


def _block(opening: str, lines: Iterator[str]) -> Iterator[str]:
    yield opening
    for line in lines:
        yield f"    {line}"
    yield "end script"


def _description(text: str) -> str:
    """Return text as one quoted word of init(5): on one line, backslashes and quotes escaped."""
    line = "".join(character for character in " ".join(text.split()) if character.isprintable())
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _steps(seconds: float, step: float) -> int:
    return max(1, math.ceil(seconds / step))
