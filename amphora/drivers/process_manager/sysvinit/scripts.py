# SPDX-License-Identifier: Apache-2.0
"""Render a service as an init script of sysvinit.

The form is that of the Linux Standard Base (chapter 22, "System Initialization"): a comment header for
the tool that orders scripts, insserv(8), and exit statuses by verb. The shell is any POSIX one.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from amphora.drivers.process_manager.members import MARKER
from amphora.drivers.process_manager.spec_files import MARK, SpecFormat
from amphora.drivers.process_manager.sysvinit.script_body import BODY, LAUNCHES
from amphora.models import ServiceSpec
from amphora.system.command import SEARCH_PATH, clean_environment

SCRIPT = SpecFormat("init script", header=f"#!/bin/sh\n{MARK}\n", prefix="# Spec: ")

#: What makes the network namespaces, where a script of the machine does.
NAMESPACE_FACILITY = "amphora-netns"
#: The agent's own script, which supervises the services that the machine has started.
AGENT_FACILITY = "amphora-agent"


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
