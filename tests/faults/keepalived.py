# SPDX-License-Identifier: Apache-2.0
"""Changes to the keepalived that moves virtual addresses, and what may be the case after each."""

from __future__ import annotations

import subprocess

from amphora.core.changes.locks import KEEPALIVED
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD
from amphora.core.workloads.vrrp_files import VrrpFiles
from amphora.system.addresses import addresses_in
from tests.faults.matrix import Kind
from tests.faults.scenario import Scenario
from tests.support.vrrp_pair import INTERFACE, configuration

FAMILY = "keepalived"
KINDS = (
    Kind(FAMILY, UPLOAD),
    Kind(FAMILY, START, runs_before=False),
    Kind(FAMILY, RELOAD),
    Kind(FAMILY, STOP, runs_after=False),
)

A, B = "A", "B"
_VIPS = {A: "198.51.100.100", B: "198.51.100.101"}

_STATES = {
    UPLOAD: ("A start", {(A, A)}, {(B, A)}),
    START: ("A start stop B", {(B, None), (A, None)}, {(B, B)}),
    RELOAD: ("A start B", {(B, A), (A, A)}, {(B, B)}),
    STOP: ("A start", {(A, A)}, {(A, None)}),
}


class KeepalivedScenario(Scenario):
    """The one keepalived, which holds one address or another."""

    program = "keepalived"

    def __init__(self, rig, kind):
        self._preparation, old, new = _STATES[kind.kind]
        super().__init__(rig, kind, KEEPALIVED, old, new)
        self._layout = VrrpFiles(rig.agent.base_path)
        self.pid_file = self._layout.pid_file

    def prepare(self):
        for word in self._preparation.split():
            answer = self._do(word)
            assert answer.status < 300, answer.json

    def change(self):
        return self._do({UPLOAD: B}.get(self.kind, self.kind))

    def state(self):
        """Return the versions that are stored and whose address is held."""
        stored = self._marker(self._layout.stored)
        held = {str(each.address.ip) for each in addresses_in(self.rig.namespace)}
        running = [marker for marker, vip in _VIPS.items() if vip in held]
        return stored, running[0] if len(running) == 1 else (running or None)

    def incomplete(self):
        layout, problems = self._layout, []
        left = [path.name for path in layout.transient if path.exists()]
        if left:
            problems.append(f"left behind: {left}")
        runs = self.state()[1]
        for path in (layout.running, layout.proven) if runs else ():
            if self._marker(path) != runs:
                problems.append(f"{path.name} is not what runs")
        return problems

    def repeat(self):
        if self.kind in (START, RELOAD):
            assert self._do(B).status == 200
        return super().repeat()

    def clean(self):
        assert self._do("stop").status == 202

    def _do(self, word):
        if word in _VIPS:
            return self.agent.call("PUT", "/v0.1/vrrp/upload", configuration([_VIPS[word]], 100))
        return self.agent.call("PUT", f"/v0.1/vrrp/{word}")

    def _marker(self, path):
        text = path.read_text() if path.exists() else ""
        return next((marker for marker, vip in _VIPS.items() if f"{vip}\n" in text), None)


def make_namespace(name):
    """Make the namespace of tenant traffic with an interface that leads nowhere."""
    subprocess.run(["ip", "netns", "add", name], check=True, timeout=10)
    for command in (
        ["link", "add", INTERFACE, "type", "veth", "peer", "name", "away"],
        ["link", "set", "away", "up"],
        ["link", "set", "lo", "up"],
        ["link", "set", INTERFACE, "up"],
        ["addr", "add", "198.51.100.11/24", "dev", INTERFACE],
    ):
        subprocess.run(["ip", "-n", name, *command], check=True, timeout=10)
