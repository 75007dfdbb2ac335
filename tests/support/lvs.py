# SPDX-License-Identifier: Apache-2.0
"""LVS listeners of a real core over a fake process manager, and configurations for them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from amphora.core.network.data_namespace import DataNamespace
from amphora.core.workloads.lvs import LvsEngine, LvsEvidence, LvsSettings
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.core.workloads.lvs_listeners import LvsListeners
from amphora.core.workloads.lvs_status import LvsStatusReader
from amphora.errors import InvalidConfiguration
from amphora.keepalived.program import KeepalivedProgram
from amphora.lvs.program import LvsProgram
from amphora.system.command import CommandRunner

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


class FakeLvsProgram(LvsProgram):
    """Refuses configurations that hold the word BAD_LINE, as keepalived would."""

    def __init__(self):
        super().__init__(KeepalivedProgram(Path("/usr/sbin/keepalived"), CommandRunner()), "")

    def check(self, file, names):
        (included,) = (name for name in names if f"include {name}\n" in file.read_text())
        for number, line in enumerate(Path(included).read_text().splitlines(), 1):
            if "BAD_LINE" in line:
                raise InvalidConfiguration(f"({names[included]}: Line {number}) Unknown keyword 'BAD_LINE'")
        return "Configuration file is valid"


class FakeLvsEngine(LvsEngine):
    """Does every step on files and on the process manager, and proves nothing.

    ``failures`` are raised by the next proofs, one each; ``proven`` notes what each proof was asked about.
    """

    def __init__(self, services):
        super().__init__(
            FakeLvsProgram(), services, DataNamespace("", CommandRunner()), LvsSettings(apply_timeout=5.0)
        )
        self.failures = []
        self.proven = []

    def prove(self, layout, configuration):
        self.proven.append(layout.running.read_bytes())
        if self.failures:
            raise self.failures.pop(0)
        return LvsEvidence(self.status(layout).pid, None, len(configuration.services))


class LvsRig:
    """The listeners below one directory; ``announced`` and ``changes`` note what others were told."""

    def __init__(self, base_path, services, operations, locks):
        self.directory = LvsDirectory(base_path)
        self.services = services
        self.operations = operations
        self.engine = FakeLvsEngine(services)
        self.announced = []
        self.changes = 0
        self.listeners = LvsListeners(
            self.directory,
            self.engine,
            operations,
            locks,
            lambda addresses: self.announced.append({str(address) for address in addresses}),
            self._count,
        )
        self.status = LvsStatusReader(self.directory, self.engine)

    def _count(self):
        self.changes += 1
