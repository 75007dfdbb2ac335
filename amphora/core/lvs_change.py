# SPDX-License-Identifier: Apache-2.0
"""A start or a reload of an LVS listener, as steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from amphora.core.lvs_engine import LvsEngine
from amphora.core.lvs_layout import LvsLayout
from amphora.core.operations import Stands
from amphora.errors import LvsListenerNotFound, OperationFailed
from amphora.lvs.configuration import parse
from amphora.lvs.services import VirtualService
from amphora.system import files

START, RELOAD = "start", "reload"

#: What each of the other listeners that run serves.
Taken = Callable[[], Mapping[VirtualService, str]]


class LvsChange:
    """Makes the stored configuration the running one. A reload ends keepalived and starts it anew.

    :param kind: ``start`` where nothing runs, else ``reload``.
    """

    limits: Mapping[str, float] = MappingProxyType({})

    def __init__(self, engine: LvsEngine, layout: LvsLayout, kind: str, taken: Taken) -> None:
        self.kind = kind
        self.target = layout.listener_id
        self._engine = engine
        self._layout = layout
        self._taken = taken
        self._data = b""
        self._is_kept = False

    def stage(self) -> None:
        """Write what is stored beside what runs."""
        data = files.read_if_present(self._layout.stored)
        if data is None:
            raise LvsListenerNotFound(self._layout.listener_id)
        self._data = data
        self._engine.stage(self._layout, data)

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
        self._engine.swap(self._layout)

    def act(self) -> None:
        """Start keepalived, after ending the one that runs."""
        self._engine.start(self._layout)

    def prove(self) -> str:
        """See its processes run."""
        evidence = self._engine.prove(self._layout, parse(self._data))
        child = f", checks members in pid {evidence.checker_pid}" if evidence.checker_pid else ""
        return f"keepalived runs in pid {evidence.main_pid}{child}, for {evidence.services} virtual services"

    def keep(self) -> None:
        """Remember it as what to come back to."""
        files.write_atomically(self._layout.proven, self._data, 0o644)
        self._is_kept = True

    def discard(self) -> str:
        """Forget what is staged."""
        self._engine.unstage(self._layout)
        return f"No process was touched. {self._restore_stored()}"

    def restore(self) -> str:
        """Bring back what ran before, if anything did."""
        if self._is_kept:
            raise Stands("keepalived runs with the new configuration")
        self._engine.unstage(self._layout)
        has_proven = self._engine.restore_files(self._layout)
        if self.kind == RELOAD and has_proven:
            self._engine.start(self._layout)
            proven = parse(files.read_if_present(self._layout.running) or b"")
            pid = self._engine.prove(self._layout, proven).main_pid
            case = f"keepalived was started again with its last proven configuration (pid {pid})."
        else:
            self._engine.stop(self._layout)
            case = "keepalived is stopped."
        return f"{case} {self._restore_stored()}"

    def _restore_stored(self) -> str:
        proven = files.read_if_present(self._layout.proven)
        if proven is None:
            return "The uploaded configuration stays stored, as none was ever proven to run."
        files.write_atomically(self._layout.stored, proven, 0o644)
        return "The last proven configuration is stored again."
