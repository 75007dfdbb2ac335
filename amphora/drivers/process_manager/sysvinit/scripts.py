# SPDX-License-Identifier: Apache-2.0
"""Services as init scripts of sysvinit: rendered, stored, and registered in the runlevels.

The form is that of the Linux Standard Base (chapter 22, "System Initialization"): a comment header for
the tool that orders scripts, insserv(8), and exit statuses by verb. The shell is any POSIX one.
"""

from __future__ import annotations

import math
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.members import MARKER
from amphora.drivers.process_manager.records import ServiceRecord, ServiceStore, noted_process
from amphora.drivers.process_manager.service_errors import as_service_error
from amphora.drivers.process_manager.specs import MARK, SpecFiles, SpecFormat
from amphora.drivers.process_manager.sysvinit.script_body import BODY, LAUNCHES
from amphora.errors import ServiceError
from amphora.models import ServiceSpec
from amphora.system import files
from amphora.system.command import SEARCH_PATH, CommandRunner, clean_environment
from amphora.system.processes import ProcessIdentity

SCRIPT = SpecFormat("init script", header=f"#!/bin/sh\n{MARK}\n", prefix="# Spec: ")

#: What makes the network namespaces, where a script of the machine does.
NAMESPACE_FACILITY = "amphora-netns"
#: The agent's own script, which supervises the services that the machine has started.
AGENT_FACILITY = "amphora-agent"

#: Runlevels in which services run; the links of one are like those of the others.
_RUNLEVELS = ("2", "3", "4", "5")

#: Seconds that update-rc.d may take; it orders all scripts of the machine anew.
_REGISTRATION_TIMEOUT = 20.0


@dataclass(frozen=True, slots=True)
class ScriptPaths:
    """Where a script stands and what it writes.

    :ivar script: its own path; it also marks the service's processes.
    :ivar pid_file: names the main process, with its start time and boot.
    :ivar lock: held by the script or the agent during a change.
    :ivar log: output of the service.
    """

    script: Path
    pid_file: Path
    lock: Path
    log: Path


class InitScriptStore(SpecFiles, ServiceStore):
    """A script carries its spec, and its links show whether it is wanted; nothing else is stored.

    The main process is noted in the script's pid file, by the script or from here.

    :param root: directory of the file system.
    :param log_directory: for the output of services; made with mode 0700.
    :param boot_id: of the running kernel; a process noted under another one is forgotten.
    """

    def __init__(self, root: Path, log_directory: Path, runner: CommandRunner, boot_id: str) -> None:
        super().__init__(root / "etc/init.d", "", SCRIPT, 0o755)
        self._root = root
        self._log_directory = log_directory
        self._runner = runner
        self._boot_id = boot_id
        # update-rc.d reads and writes the links of all services, and locks nothing.
        self._links_lock = threading.Lock()

    def paths(self, name: str) -> ScriptPaths:
        """Return what belongs to a service."""
        return ScriptPaths(
            script=self.path(name),
            pid_file=self._root / f"run/amphora-service.{name}.pid",
            lock=self._root / f"run/amphora-service.{name}.lock",
            log=self._log_directory / f"{name}.log",
        )

    def load(self, name: str) -> ServiceRecord | None:
        """See the base class."""
        spec = self.spec(name)
        return None if spec is None else ServiceRecord(spec, self._is_enabled(name), self.process(name))

    @as_service_error()
    def save(self, record: ServiceRecord) -> None:
        """See the base class. Writes only what differs, and so renews a script of an older version."""
        name = record.spec.name
        script = render_script(record.spec, self.paths(name)).encode()
        former = self.read_own(name)
        if former != script:
            files.ensure_directory(self._log_directory, 0o700)
            self.write(name, script)
        if record.wanted and (former not in (None, script) or not self._is_enabled(name)):
            self._enable(name)
        elif not record.wanted and self._is_enabled(name):
            self._update_links(name, "disable")
        self._note_process(name, record.process)

    @as_service_error()
    def delete(self, name: str) -> None:
        """See the base class."""
        if not SCRIPT.is_ours(self.read(name)):
            return
        pid_file, lock = self.paths(name).pid_file, self.paths(name).lock
        # The links first: a script without links is a stopped service, links alone are litter.
        self._update_links(name, "remove")
        # An interrupted script leaves the third.
        for path in (self.path(name), pid_file, pid_file.with_name(f"{pid_file.name}.new"), lock):
            files.remove(path)

    def process(self, name: str) -> ProcessIdentity | None:
        """Return the main process that was noted in this boot, alive or not.

        :raises ServiceError: the pid file is there but cannot be read.
        """
        return noted_process(self.paths(name).pid_file, self._boot_id)

    def _enable(self, name: str) -> None:
        # The first makes links where there are none, the second turns those of a stopped service.
        self._update_links(name, "defaults")
        if not self._is_enabled(name):
            self._update_links(name, "enable")
        if not self._is_enabled(name):
            raise ServiceError(f"service {name} cannot be registered: update-rc.d ignores this name")

    def _update_links(self, name: str, verb: str) -> None:
        options = ("-f",) if verb == "remove" else ()
        argv = ("update-rc.d", *options, name, verb)
        with self._links_lock:
            result = self._runner.run(argv, timeout=_REGISTRATION_TIMEOUT)
            for level in _RUNLEVELS:
                files.make_durable(self._links(level))
        if not result.succeeded:
            raise ServiceError(f"update-rc.d {name} {verb} failed: {result.output.strip()}")

    def _is_enabled(self, name: str) -> bool:
        """Whether the service is started when the machine enters a runlevel with services."""
        for level in _RUNLEVELS:
            # S, two digits of the order, and the name.
            for link in self._links(level).glob(f"S[0-9][0-9]{name}"):
                if link.is_symlink():
                    return True
        return False

    def _links(self, level: str) -> Path:
        return self._root / f"etc/rc{level}.d"

    def _note_process(self, name: str, process: ProcessIdentity | None) -> None:
        path = self.paths(name).pid_file
        if process is None:
            files.remove(path)
        elif process != self.process(name):
            text = f"{process.pid}\n{process.start_ticks} {self._boot_id}\n"
            files.write_atomically(path, text.encode("ascii"), 0o644)


def render_script(spec: ServiceSpec, paths: ScriptPaths) -> str:
    """Return the init script of a checked spec; equal specs and paths give equal text.

    Beside the verbs of the LSB it knows two for the driver and for itself: ``run`` becomes the service,
    keeping the process id, and ``check`` becomes its check.
    """
    lines = (
        *_lsb_header(spec),
        "",
        f"export PATH={SEARCH_PATH}",
        *_settings(spec, paths),
        "",
        *_enter(spec, paths),
        "",
        f"run_service() {{\n    enter {_words(spec.argv)}\n}}",
        "",
        *_check(spec),
        BODY.replace("@LAUNCH@\n", LAUNCHES[spec.readiness]),
        SCRIPT.line(spec),
        "",
    )
    return SCRIPT.header + "\n".join(lines)


def _lsb_header(spec: ServiceSpec) -> Iterator[str]:
    yield "### BEGIN INIT INFO"
    yield f"# Provides:          {spec.name}"
    yield "# Required-Start:    $local_fs $network"
    yield "# Required-Stop:     $local_fs $network"
    if spec.namespace:
        yield f"# Should-Start:      {NAMESPACE_FACILITY}"
        yield f"# Should-Stop:       {NAMESPACE_FACILITY}"
    # So that the agent finds at boot what runs rather than what is about to, and does not start again
    # what is being stopped at shutdown.
    yield f"# X-Start-Before:    {AGENT_FACILITY}"
    yield f"# X-Stop-After:      {AGENT_FACILITY}"
    yield "# Default-Start:     2 3 4 5"
    yield "# Default-Stop:      0 1 6"
    yield f"# Short-Description: {' '.join(spec.description.split()) or spec.name}"
    yield "### END INIT INFO"


def _settings(spec: ServiceSpec, paths: ScriptPaths) -> Iterator[str]:
    own_pid_file = spec.pid_file if spec.pid_file is not None else ""
    settings = {
        "name": spec.name,
        "script": paths.script,
        "pid_file": paths.pid_file,
        "own_pid_file": own_pid_file,
        "lock_file": paths.lock,
        "log": paths.log,
        "reload_signal": spec.reload_signal.name.removeprefix("SIG"),
        "start_seconds": _seconds(spec.start_timeout),
        "stop_seconds": _seconds(spec.stop_timeout),
        "mark": f"{MARKER}={paths.script}",
    }
    for name, value in settings.items():
        yield f"{name}={shlex.quote(str(value))}"


def _enter(spec: ServiceSpec, paths: ScriptPaths) -> Iterator[str]:
    """Return the function that replaces the shell by a command of the service."""
    environment = clean_environment(spec.environment) | {MARKER: str(paths.script)}
    yield "# Becomes a command, in the service's environment and network namespace."
    yield "enter() {"
    if spec.namespace:
        yield "    ip=$(command -v ip) || { say 'ip is not installed'; exit 5; }"
    yield "    exec env -i \\"
    for name, value in sorted(environment.items()):
        yield f"        {shlex.quote(f'{name}={value}')} \\"
    yield '        ${NOTIFY_SOCKET:+"NOTIFY_SOCKET=$NOTIFY_SOCKET"} \\'
    prefix = f'"$ip" netns exec {shlex.quote(spec.namespace)} ' if spec.namespace else ""
    yield f'        {prefix}"$@"'
    yield "}"


def _check(spec: ServiceSpec) -> Iterator[str]:
    if not spec.check_argv:
        yield "run_check() {\n    exit 0\n}"
        return
    yield f"run_check() {{\n    enter {_words(spec.check_argv)}\n}}"


def _words(argv: tuple[str, ...]) -> str:
    # env(1) would take a path with an equals sign for a variable; nice(1) does not.
    prefix = ("nice", "-n", "0") if "=" in argv[0] else ()
    return " ".join(shlex.quote(word) for word in (*prefix, *argv))


def _seconds(seconds: float) -> int:
    # timeout(1) takes zero for "no limit".
    return max(1, math.ceil(seconds))
