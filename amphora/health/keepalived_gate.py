# SPDX-License-Identifier: Apache-2.0
"""Whether keepalived should run and does not: heartbeats then stop, so that the amphora is replaced."""

from __future__ import annotations

from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.system.processes import command_line, identify, read_pid_file


def keepalived_is_missing(layout: VrrpFiles) -> bool:
    """Whether a configuration is stored and no process runs it. Never forks."""
    if not any(path.exists() for path in (layout.stored, layout.rendered)):
        return False
    pid = read_pid_file(layout.pid_file)
    if pid is None or identify(pid) is None:
        return True
    # A pid file outlives a kill and a reboot, and its number may then be another process's. Another agent's
    # keepalived has other arguments, but all read their configuration from this directory.
    return not any(f"{layout.directory}/" in argument for argument in command_line(pid))
