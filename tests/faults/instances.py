# SPDX-License-Identifier: Apache-2.0
"""Changes to an instance of haproxy, and what may be the case after each."""

from __future__ import annotations

from amphora.core.changes.operations import DELETE
from amphora.core.changes.service_changes import RELOAD, START, STOP, UPLOAD
from amphora.core.workloads.haproxy_files import HaproxyFiles
from tests.faults.matrix import Kind
from tests.faults.rig import listening_port, served, version
from tests.faults.scenario import Scenario

FAMILY = "haproxy"
UPLOADS = (Kind(FAMILY, UPLOAD), Kind(FAMILY, UPLOAD, "nothing", runs_before=False, runs_after=False))
STARTS = (
    Kind(FAMILY, START, runs_before=False),
    Kind(FAMILY, START, "first", runs_before=False),
)
RELOADS = (Kind(FAMILY, RELOAD),)
ENDS = (Kind(FAMILY, STOP, runs_after=False), Kind(FAMILY, DELETE, runs_after=False))

A, B = "A", "B"

#: What is stored and what is served: what leads there; what is as before; what is done.
_STATES = {
    UPLOAD: ("A start", {(A, A)}, {(B, A)}),
    f"{UPLOAD} nothing": ("", {(None, None)}, {(B, None)}),
    f"{START} first": ("B", {(B, None)}, {(B, B)}),
    # The uploaded one stays stored, or the last proven one is again.
    START: ("A start stop B", {(B, None), (A, None)}, {(B, B)}),
    RELOAD: ("A start B", {(B, A), (A, A)}, {(B, B)}),
    STOP: ("A start", {(A, A)}, {(A, None)}),
    DELETE: ("A start", {(A, A)}, {(None, None)}),
}


class InstanceScenario(Scenario):
    """One instance of its own that one change is made to."""

    program = "haproxy"

    def __init__(self, rig, kind):
        self._preparation, old, new = _STATES[f"{kind.kind} {kind.before}".strip()]
        # Something that has ended is not started again because something else of it has not.
        halfway = {(A, None)} if kind.kind == DELETE else ()
        super().__init__(rig, kind, rig.new_id(), old, new, halfway)
        self._port = listening_port()
        self._layout = HaproxyFiles(rig.agent.base_path, self.target)

    @property
    def pid_file(self):
        return self._layout.pid_file

    def prepare(self):
        for word in self._preparation.split():
            answer = self._do(word)
            assert answer.status < 300, answer.json

    def change(self):
        return self._do({UPLOAD: B}.get(self.kind, self.kind))

    def repeat(self):
        """Do what a controller does that wants it still."""
        if self.kind in (START, RELOAD):
            assert self._do(B).status < 300
        answer = self.change()
        done = answer.status < 300 or (self.kind == DELETE and answer.status == 404)
        return "" if done else f"repeated, it is answered {answer.status}: {answer.json}"

    def clean(self):
        self.agent.call("DELETE", f"/v0.1/listeners/{self.target}")

    def state(self):
        """Return the versions that are stored and served."""
        stored = self.agent.call("GET", f"/v0.1/listeners/{self.target}/haproxy")
        marker = stored.body.decode()[2] if stored.status == 200 else None
        if marker and stored.body != self._version(marker):
            marker = f"torn: {stored.body!r}"
        return marker, served(self._port)

    def incomplete(self):
        """Return what does not fit together, while nothing is under way."""
        stored, runs = self.state()
        layout, problems = self._layout, []
        status = self.agent.call("GET", f"/v0.1/listeners/{self.target}").json.get("status")
        expected = None if stored is None else "ACTIVE" if runs else "STOPPED"
        if status != expected:
            problems.append(f"the status told is {status} and not {expected}")
        left = [path.name for path in layout.transient if path.exists()]
        if left:
            problems.append(f"left behind: {left}")
        for path in (layout.running, layout.proven) if runs else ():
            if not path.exists() or path.read_bytes() != self._version(runs):
                problems.append(f"{path.name} is not what runs")
        if stored is None and layout.directory.exists():
            problems.append(f"a directory is left: {list(layout.directory.iterdir())}")
        return problems

    def _do(self, word):
        if word in (A, B):
            return self.agent.upload(self.target, self._version(word))
        if word == DELETE:
            return self.agent.call("DELETE", f"/v0.1/listeners/{self.target}")
        return self.agent.act(self.target, word)

    def _version(self, marker):
        return version(self.target, self._port, marker)
