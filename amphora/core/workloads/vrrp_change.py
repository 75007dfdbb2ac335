# SPDX-License-Identifier: Apache-2.0
"""A start or reload of keepalived, as steps."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import MappingProxyType

from amphora.core.changes.locks import KEEPALIVED
from amphora.core.changes.service_changes import RELOAD, START, already_in_effect, restore_stored
from amphora.core.workloads.vrrp_engine import Generations, VrrpEngine
from amphora.core.workloads.vrrp_files import VrrpLayout
from amphora.errors import InvalidConfiguration, OperationFailed
from amphora.keepalived.configuration import KeepalivedConfiguration
from amphora.keepalived.proof import KeepalivedEvidence, RunningKeepalived
from amphora.models import ServiceState
from amphora.system import files

LOG = logging.getLogger(__name__)

_NOTHING_SEEN = KeepalivedEvidence(0, 0, 0.0)


class VrrpActivation:
    """Makes a stored configuration the one that keepalived runs.

    :param data: that configuration.
    :ivar evidence: what proved it.
    :ivar has_swapped: whether something live was touched.
    """

    target = KEEPALIVED
    limits: Mapping[str, float] = MappingProxyType({"apply": 90.0, "restore": 240.0})

    def __init__(self, engine: VrrpEngine, layout: VrrpLayout, kind: str, data: bytes) -> None:
        self.kind = kind
        self.evidence = _NOTHING_SEEN
        self.has_swapped = False
        self._engine = engine
        self._layout = layout
        self._data = data
        self._configuration: KeepalivedConfiguration | None = None
        self._generations: Generations | None = None
        self._before: RunningKeepalived | None = None

    def stage(self) -> None:
        """Write what is to run, and what going back will need."""
        try:
            self._configuration = self._engine.stage(self._data)
        except InvalidConfiguration as error:
            raise OperationFailed(error.details) from error
        self._generations = self._engine.stage_swap(self._data)

    def check(self) -> None:
        """Let keepalived check it once more: what it names may have changed since the upload."""
        try:
            self._engine.check()
        except InvalidConfiguration as error:
            raise OperationFailed(error.details) from error

    def preflight(self) -> None:
        """Note what runs, or see that nothing does."""
        if self.kind == RELOAD:
            self._before = self._engine.before_reload()
        else:
            self._engine.require_own()

    def swap(self) -> None:
        """Make it what keepalived reads."""
        self.has_swapped = True
        self._engine.swap()

    def apply(self) -> None:
        """Start or reload keepalived."""
        configuration, _ = self._staged()
        if self.kind == START:
            self._engine.act_start(configuration)
        else:
            self._engine.act_reload(configuration)

    def prove(self) -> str:
        """See keepalived tell the states of this very configuration."""
        configuration, generations = self._staged()
        self.evidence = self._engine.prove(configuration, generations.next, self._before)
        return str(self.evidence)

    def commit(self) -> None:
        """Make it what a later failure comes back to."""
        self._engine.keep()

    def discard(self) -> str:
        """No process was touched."""
        stored = self._restore_stored()
        self._engine.unstage()
        return f"No process was touched. {stored}"

    def restore(self) -> str:
        """Bring back what ran.

        :raises AlreadyInEffect: what runs is what to come back to already.
        """
        if self.has_swapped and not self._layout.to_be_proven.exists():
            raise already_in_effect(self.target, self._engine.unstage, str(self.evidence))
        outcome = self._undo_start() if self.kind == START else self._undo_reload()
        stored = self._restore_stored()
        self._engine.unstage()
        return f"{outcome} {stored}"

    def _staged(self) -> tuple[KeepalivedConfiguration, Generations]:
        if self._configuration is None or self._generations is None:
            raise OperationFailed("nothing is staged")
        return self._configuration, self._generations

    def _undo_start(self) -> str:
        self._engine.stop()
        self._engine.restore_files(self._generations)
        return "keepalived is stopped, as it was before."

    def _undo_reload(self) -> str:
        restored = self._engine.restore_files(self._generations)
        if restored is None:
            return self._undo_start()
        if self._engine.status().state is ServiceState.RUNNING:
            try:
                evidence = self._engine.reload(*restored)
                return f"keepalived goes on with its last proven configuration (pid {evidence.main_pid})."
            except OperationFailed as error:
                LOG.warning("keepalived must be started anew: %s", error)
        # It may be about to be started again over the refused configuration.
        self._engine.stop()
        evidence = self._engine.start(*restored)
        return f"keepalived had ended and was started again (pid {evidence.main_pid})."

    def _restore_stored(self) -> str:
        layout = self._layout
        proven = files.read_if_present(layout.proven)
        if proven is not None and proven == files.read_if_present(layout.rendered):
            # It counts by itself while nothing is uploaded.
            files.remove(layout.stored)
            return "The last proven configuration is stored again."
        return restore_stored(layout.stored, layout.proven, layout.stored_back)
