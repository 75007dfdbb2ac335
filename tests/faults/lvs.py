# SPDX-License-Identifier: Apache-2.0
"""Changes to an LVS listener, and what may be the case after each.

Only configurations without members run on a kernel without IPVS, and then nothing answers. So what counts as
served is the configuration that a live keepalived was started with.
"""

from __future__ import annotations

import os
import time

from amphora.core.changes.operations import DELETE
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.testing.agent_client import AMPHORA_ID
from tests.faults.instances import A, B, InstanceScenario
from tests.faults.matrix import Kind
from tests.support.lvs import EMPTY, LISTENER

FAMILY = "LVS"
KINDS = (
    Kind(FAMILY, UPLOAD),
    Kind(FAMILY, UPLOAD, "nothing", runs_before=False, runs_after=False),
    Kind(FAMILY, START, runs_before=False),
    Kind(FAMILY, START, "first", runs_before=False),
    Kind(FAMILY, RELOAD),
    Kind(FAMILY, STOP, runs_after=False),
    Kind(FAMILY, DELETE, runs_after=False),
)

#: Seconds by which the start of a process may be told too early.
_CLOCK = 0.05


class LvsScenario(InstanceScenario):
    """One listener of its own that one change is made to."""

    program = "keepalived"

    def __init__(self, rig, kind):
        super().__init__(rig, kind)
        self._layout = LvsDirectory(rig.agent.base_path).files(self.target)

    @property
    def pid_file(self):
        return self._layout.pid_files.main

    def clean(self):
        self._do(DELETE)

    def state(self):
        """Return the versions that are stored and running."""
        stored = self.agent.call("GET", f"/1.0/listeners/{self.target}/udp_listener")
        return self._marker(stored.body) if stored.status == 200 else None, self._running()

    def incomplete(self):
        layout, problems = self._layout, []
        stored, runs = self.state()
        left = [path.name for path in layout.transient if path.exists()]
        if left:
            problems.append(f"left behind: {left}")
        for path in (layout.running, layout.proven) if runs else ():
            if self._marker(path.read_bytes()) != runs:
                problems.append(f"{path.name} is not what runs")
        if stored is None and layout.exists:
            problems.append(f"a directory is left: {list(layout.directory.iterdir())}")
        return problems

    def _running(self):
        main = self._layout.processes.main()
        if main is None:
            return None
        layout = self._layout
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - main.start_ticks / os.sysconf("SC_CLK_TCK")
        is_older = time.time() - age + _CLOCK < layout.running.stat().st_mtime
        # One that could not be ended goes on with what was proven before.
        return self._marker((layout.proven if is_older else layout.running).read_bytes())

    def _marker(self, data):
        return next((marker for marker in (A, B) if data == self._version(marker)), f"torn: {data!r}")

    def _do(self, word):
        if word in (A, B):
            path = f"/1.0/listeners/{AMPHORA_ID}/{self.target}/udp_listener"
            return self.agent.call("PUT", path, self._version(word))
        if word == DELETE:
            return self.agent.call("DELETE", f"/1.0/listeners/{self.target}")
        return self.agent.call("PUT", f"/1.0/loadbalancer/{self.target}/{word}")

    def _version(self, marker):
        return f"# {marker}\n".encode() + EMPTY.replace(LISTENER.encode(), self.target.encode())
