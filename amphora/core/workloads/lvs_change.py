# SPDX-License-Identifier: Apache-2.0
"""The steps of changes to an LVS listener; :mod:`amphora.core.changes.operations` owns their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from amphora.core.changes.service_changes import (
    RELOAD,
    UPLOAD,
    already_in_effect,
    discard_upload,
    restore_stored,
)
from amphora.core.workloads.lvs import CONFIGURATION_MODE, LvsEngine
from amphora.core.workloads.lvs_files import LvsLayout
from amphora.errors import LvsListenerNotFound, OperationFailed
from amphora.lvs.configuration import parse
from amphora.lvs.services import VirtualService
from amphora.system import files

#: What each of the other listeners that run serves.
Taken = Callable[[], Mapping[VirtualService, str]]


class LvsUpload:
    """Stores a configuration. What runs is not touched, so there is nothing to act on or to prove.

    :ivar output: keepalived's own words about it.
    """

    kind = UPLOAD
    limits: Mapping[str, float] = MappingProxyType({})

    def __init__(self, engine: LvsEngine, layout: LvsLayout, data: bytes) -> None:
        self.target = layout.listener_id
        self.output = ""
        self._engine = engine
        self._layout = layout
        self._data = data

    def stage(self) -> None:
        """Write it beside what is stored."""
        self._engine.stage(self._layout, self._data)
        _keep_what_runs(self._layout)

    def check(self) -> str:
        """Let keepalived check it and return its output."""
        self.output = self._engine.check(self._layout)
        return self.output

    def swap(self) -> None:
        """Make it the stored one."""
        files.rename(self._layout.staged, self._layout.stored)

    def commit(self) -> None:
        """Forget what only the check needed."""
        self._engine.unstage(self._layout)

    def discard(self) -> str:
        """Leave what was stored, or nothing."""
        layout = self._layout
        return discard_upload(layout.stored, layout.directory, lambda: self._engine.unstage(layout))

    def restore(self) -> str:
        """Nothing can have been lost: the stored configuration is replaced in one instant.

        :raises AlreadyInEffect: it was.
        """
        if self._layout.staged.exists():
            return self.discard()
        raise already_in_effect(self.target, self.commit, self.output)


class LvsChange:
    """Makes the stored configuration the running one. A reload ends keepalived and starts it anew.

    :param kind: ``start`` where nothing runs, else ``reload``.
    :ivar has_swapped: whether something live was touched.
    """

    limits: Mapping[str, float] = MappingProxyType({})

    def __init__(self, engine: LvsEngine, layout: LvsLayout, kind: str, taken: Taken) -> None:
        self.kind = kind
        self.target = layout.listener_id
        self._engine = engine
        self._layout = layout
        self._taken = taken
        self._data = b""
        self.has_swapped = False

    def stage(self) -> None:
        """Write what is to run, and what going back will need."""
        data = files.read_if_present(self._layout.stored)
        if data is None:
            raise LvsListenerNotFound(self._layout.listener_id)
        self._data = data
        self._engine.stage(self._layout, data)
        self._engine.keep_former(self._layout, data)

    def check(self) -> None:
        """Let keepalived check it."""
        self._engine.check(self._layout)

    def preflight(self) -> None:
        """Find out whether another listener serves the same already; the kernel has each service once."""
        taken = self._taken()
        for service in parse(self._data).services:
            if service in taken:
                raise OperationFailed(f"{service} is served by listener {taken[service]} already")

    def swap(self) -> None:
        """Make it the file that keepalived reads."""
        self.has_swapped = True
        self._engine.swap(self._layout)

    def apply(self) -> None:
        """Start keepalived, after ending the one that runs."""
        self._engine.start(self._layout)

    def prove(self) -> str:
        """See its processes run."""
        evidence = self._engine.prove(self._layout, parse(self._data))
        child = f", checks members in pid {evidence.checker_pid}" if evidence.checker_pid else ""
        return f"keepalived runs in pid {evidence.main_pid}{child}, for {evidence.services} virtual services"

    def commit(self) -> None:
        """Remember it as what to come back to."""
        self._engine.keep(self._layout)

    def discard(self) -> str:
        """No process was touched."""
        stored = self._restore_stored()
        self._engine.unstage(self._layout)
        return f"No process was touched. {stored}"

    def restore(self) -> str:
        """Bring back what ran before, if anything did.

        :raises AlreadyInEffect: what runs is what to come back to already.
        """
        if self.has_swapped and not self._layout.to_be_proven.exists():
            outcome = "keepalived runs with the new configuration"
            raise already_in_effect(self.target, lambda: self._engine.unstage(self._layout), outcome)
        has_proven = self._engine.restore_files(self._layout)
        case = self._run_again() if self.kind == RELOAD and has_proven else self._end()
        stored = self._restore_stored()
        self._engine.unstage(self._layout)
        return f"{case} {stored}"

    def _run_again(self) -> str:
        self._engine.start(self._layout)
        proven = parse(files.read_if_present(self._layout.running) or b"")
        pid = self._engine.prove(self._layout, proven).main_pid
        return f"keepalived was started again with its last proven configuration (pid {pid})."

    def _end(self) -> str:
        self._engine.stop(self._layout)
        return "keepalived is stopped."

    def _restore_stored(self) -> str:
        layout = self._layout
        return restore_stored(layout.stored, layout.proven, layout.stored_back, CONFIGURATION_MODE)


def _keep_what_runs(layout: LvsLayout) -> None:
    """Count what another agent has left running as proven, before its only file is replaced."""
    stored = files.read_if_present(layout.stored)
    if stored is not None and not layout.proven.exists() and layout.processes.main() is not None:
        files.write_atomically(layout.proven, stored, CONFIGURATION_MODE)
