# SPDX-License-Identifier: Apache-2.0
"""Configurations of LVS listeners, and processes that stand in for their keepalived."""

from __future__ import annotations

import subprocess

LISTENER = "11000000-0000-4000-8000-000000000002"
OTHER_LISTENER = "11000000-0000-4000-8000-000000000003"
POOL = "90000000-0000-4000-8000-000000000002"

EMPTY = f"""\
# Configuration for Loadbalancer 1b000000-0000-4000-8000-000000000001
# Configuration for Listener {LISTENER}

net_namespace amphora-haproxy
""".encode()


def with_members(*weights, vip="203.0.113.2", monitor=""):
    """Return a configuration with one member for each weight; None is one that is switched off."""
    members = "".join(_member(number, weight) for number, weight in enumerate(weights, 1))
    return (
        EMPTY
        + (
            f"""
virtual_server_group ipv4-group {{
    {vip} 53
}}

virtual_server group ipv4-group {{
    lb_algo wrr
    lb_kind NAT
    protocol UDP

    # Configuration for Pool {POOL}
{monitor}{members}}}
"""
        ).encode()
    )


def member(number):
    """Return the id of a member."""
    return f"ae000000-0000-4000-8000-{number:012}"


def _member(number, weight):
    if weight is None:
        return f"    # Member {member(number)} is disabled\n"
    return (
        f"    # Configuration for Member {member(number)}\n"
        f"    real_server 10.0.0.{number} 53 {{\n        weight {weight}\n    }}\n"
    )


class StandIn:
    """A process that looks like the keepalived of a listener, by its command line and pid files.

    :param file: that it was given; another agent gives the stored one.
    """

    def __init__(self, layout, file=None, checker=True):
        self._layout = layout
        argv = ["/bin/sh", "-c", "echo begun; read forever", "keepalived", "-f", str(file or layout.running)]
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        # Popen returns while the kernel still replaces the program, and its command line is empty then.
        assert self._process.stdout.readline() == b"begun\n"
        files = [layout.pid_files.main, *([layout.pid_files.check] if checker else [])]
        for path in files:
            path.write_text(f"{self._process.pid}\n")

    def close(self):
        """End it; its pid files stay, as after a kill."""
        self._process.communicate()
