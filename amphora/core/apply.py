# SPDX-License-Identifier: Apache-2.0
"""Makes a stored configuration the running one, or leaves everything as it was.

The order is always: stage, check, pre-flight, swap, act, prove; and after a failure: restore what
was running, act again, and say so. Callers hold the instance lock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from amphora.core.engine import HaproxyEngine
from amphora.core.layout import InstanceLayout
from amphora.errors import InstanceActionFailed, InstanceNotFound
from amphora.haproxy.configuration import Configuration
from amphora.haproxy.proof import Evidence
from amphora.models import ServiceState
from amphora.system import files

LOG = logging.getLogger(__name__)

_Act = Callable[[InstanceLayout, Configuration], Evidence]


class Applier:
    """Starts and reloads instances."""

    def __init__(self, engine: HaproxyEngine) -> None:
        self._engine = engine

    def start(self, layout: InstanceLayout) -> Evidence:
        """Start a stopped instance from its stored configuration.

        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: it does not run; reasons, and what was restored.
        """
        return self._apply(layout, "start", self._engine.start, self._undo_start)

    def reload(self, layout: InstanceLayout) -> Evidence:
        """Reload a running instance from its stored configuration.

        :raises InstanceNotFound: it has no stored configuration.
        :raises InstanceActionFailed: what ran before runs on; reasons, and what was restored.
        """
        return self._apply(layout, "reload", self._engine.reload, self._undo_reload)

    def settle(self, layout: InstanceLayout) -> None:
        """Finish or undo what was under way when the agent was killed. Safe to repeat.

        A service that should run is reloaded from the stored configuration or, where that cannot be
        proven, from the proven one; its traffic goes on meanwhile. A stopped one stays stopped.
        """
        if not layout.under_way.exists():
            return
        if self._engine.status(layout).state.is_at_rest:
            self._undo_start(layout)
            files.remove(layout.under_way)
            LOG.warning("undid the interrupted start of %s", layout.instance_id)
            return
        try:
            evidence = self.reload(layout)
            LOG.warning("finished the interrupted change of %s: %s", layout.instance_id, evidence)
        except InstanceActionFailed as error:
            LOG.warning("undid the interrupted change of %s: %s", layout.instance_id, error)

    def _apply(
        self, layout: InstanceLayout, action: str, act: _Act, undo: Callable[[InstanceLayout], str]
    ) -> Evidence:
        data = files.read_if_present(layout.stored)
        if data is None:
            raise InstanceNotFound(layout.instance_id)
        configuration = self._prepare(layout, action, data, undo)
        files.write_atomically(layout.under_way, action.encode())
        try:
            self._engine.swap(layout)
            evidence = act(layout, configuration)
            files.write_atomically(layout.proven, data)
        except Exception as error:
            outcome = self._restore(layout, undo)
            raise InstanceActionFailed(action, f"{error}\n{outcome}") from error
        files.remove(layout.under_way)
        LOG.info("%s of %s proven: %s", action, layout.instance_id, evidence)
        return evidence

    def _prepare(
        self, layout: InstanceLayout, action: str, data: bytes, undo: Callable[[InstanceLayout], str]
    ) -> Configuration:
        try:
            configuration, _ = self._engine.stage(layout, data)
            self._engine.preflight(layout, configuration)
        except Exception as error:
            # Only where an earlier change was interrupted is there more to undo than the stored file.
            interrupted = layout.under_way.exists()
            outcome = self._restore(layout, undo if interrupted else _nothing_to_undo)
            raise InstanceActionFailed(action, f"{error}\n{outcome}") from error
        return configuration

    def _restore(self, layout: InstanceLayout, undo: Callable[[InstanceLayout], str]) -> str:
        try:
            self._engine.unstage(layout)
            outcome = f"{undo(layout)} {self._restore_stored(layout)}"
            files.remove(layout.under_way)
        except Exception as error:
            # The marker stays, so that the agent's next start tries again.
            LOG.error("restoring %s failed", layout.instance_id, exc_info=error)
            return f"Additionally, restoring the former state failed: {error}"
        return outcome

    def _undo_start(self, layout: InstanceLayout) -> str:
        self._engine.stop(layout)
        self._engine.restore_files(layout)
        return "haproxy is stopped, as it was before."

    def _undo_reload(self, layout: InstanceLayout) -> str:
        runs = self._engine.status(layout).state is ServiceState.RUNNING
        if runs and not layout.proven.exists():
            return "haproxy goes on as it was."
        configuration = self._engine.restore_files(layout)
        if configuration is None:
            return self._undo_start(layout)
        if runs:
            evidence = self._engine.reload(layout, configuration)
            return f"haproxy goes on with its last proven configuration (pid {evidence.master_pid})."
        evidence = self._engine.start(layout, configuration)
        return f"haproxy had ended and was started again (pid {evidence.master_pid})."

    def _restore_stored(self, layout: InstanceLayout) -> str:
        proven = files.read_if_present(layout.proven)
        if proven is None:
            return "The uploaded configuration stays stored, as none was ever proven to run."
        files.write_atomically(layout.stored, proven)
        return "The last proven configuration is stored again."


def _nothing_to_undo(_layout: InstanceLayout) -> str:
    return "No process was touched."
