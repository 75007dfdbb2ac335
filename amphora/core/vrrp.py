# SPDX-License-Identifier: Apache-2.0
"""VRRP: configure and run the keepalived that moves virtual addresses between two amphorae.

The order of a change is always: stage, check, swap, act, prove; and after a failure: restore what was
running, act again, and say so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

from amphora.core.locks import KEEPALIVED, InstanceLocks
from amphora.core.vrrp_engine import VrrpEngine
from amphora.core.vrrp_layout import VrrpLayout
from amphora.errors import AmphoraError, OperationFailed, VrrpActionFailed, VrrpNotConfigured, VrrpWasGone
from amphora.keepalived.configuration import KeepalivedConfiguration, parse
from amphora.keepalived.proof import KeepalivedEvidence
from amphora.models import Done, Outcome, Role, ServiceState
from amphora.system import files, processes

LOG = logging.getLogger(__name__)

_Act = Callable[[KeepalivedConfiguration, str], KeepalivedEvidence]


class Vrrp:
    """The one keepalived of this amphora.

    :param install_scripts: writes the scripts that configurations refer to; called before one is checked,
        as keepalived refuses a configuration whose script is missing.
    """

    def __init__(
        self,
        layout: VrrpLayout,
        engine: VrrpEngine,
        locks: InstanceLocks,
        install_scripts: Callable[[], None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._install_scripts = install_scripts
        self._engine = engine
        self._locks = locks

    def upload(self, data: bytes) -> str:
        """Store a configuration of the controller's, once keepalived accepts it. Safe to repeat.

        It takes effect with the next start or reload; what runs is not touched.

        :returns: keepalived's words.
        :raises InvalidConfiguration: keepalived's words; the one stored so far stays.
        :raises OperationFailed: it could not be checked or stored.
        """
        with self._locks.hold(KEEPALIVED):
            return self._store(data, self._layout.stored.name)

    def set_default(self, data: bytes | None) -> str:
        """Store the configuration that counts while the controller has uploaded none; None removes it.

        It takes effect with the next start or reload. Safe to repeat.

        :returns: keepalived's words.
        :raises InvalidConfiguration: keepalived's words; the one stored so far stays.
        :raises OperationFailed: it could not be checked or stored.
        """
        with self._locks.hold(KEEPALIVED):
            if data is None:
                files.remove(self._layout.rendered)
                return ""
            return self._store(data, self._layout.rendered.name)

    def configuration(self) -> bytes:
        """Return the stored configuration that the next start or reload takes, byte for byte.

        :raises VrrpNotConfigured: there is none.
        """
        for path in (self._layout.stored, self._layout.rendered):
            data = files.read_if_present(path)
            if data is not None:
                return data
        raise VrrpNotConfigured

    def start(self) -> Outcome:
        """Start keepalived; one that runs is reloaded. Safe to repeat.

        :returns: what was done, for people.
        :raises VrrpNotConfigured: no configuration is stored.
        :raises VrrpActionFailed: reasons, and what was restored.
        """
        return self._start_or_reload("start")

    def reload(self) -> Outcome:
        """Reload keepalived from its stored configuration; one that does not run is started.

        :returns: what was done, for people.
        :raises VrrpNotConfigured: no configuration is stored.
        :raises VrrpActionFailed: reasons, and what was restored.
        """
        return self._start_or_reload("reload")

    def stop(self) -> Outcome:
        """Stop keepalived; one that is stopped is left alone. No virtual address stays behind.

        :returns: what was done, for people.
        :raises VrrpWasGone: it should have run and did not; the state is clean afterwards, so that a
            second stop succeeds.
        :raises VrrpActionFailed: a process or an address survived.
        """
        with self._locks.hold(KEEPALIVED):
            status = self._engine.status()
            if status.state.is_at_rest:
                return Outcome(Done.STOPPED, "keepalived is already stopped; nothing was changed")
            pid = status.pid or processes.read_pid_file(self._layout.pid_file)
            try:
                self._engine.stop()
                self._engine.remove_stale_pid_files()
            except OperationFailed as error:
                raise VrrpActionFailed("stop", error.details) from error
            if status.pid is None:
                which = f" with PID {pid}" if pid is not None else ""
                raise VrrpWasGone("stop", f"keepalived process{which} not found")
            return Outcome(Done.STOPPED, f"keepalived stopped (pid {status.pid})")

    def role(self) -> Role:
        """Return what this node is now, by what the running keepalived has told. Reads memory only."""
        return self._engine.role()

    def recover(self) -> None:
        """Put in order what the last agent left. Called once, after the process manager has taken over.

        A keepalived that runs is followed from here on. Of one that should run and does not, the virtual
        addresses are taken away at once.

        :raises AmphoraError: something could not be put in order; all that can be is.
        """
        layout = self._layout
        if not layout.directory.is_dir():
            return
        with self._locks.hold(KEEPALIVED):
            files.sweep_temporaries(layout.directory)
            self._engine.unstage()
            # A service that starts by itself would be refused because of them.
            self._engine.remove_stale_pid_files()
            if not self._engine.status().state.is_at_rest:
                known = (files.read_if_present(path) for path in (layout.running, layout.proven))
                self._engine.follow(*(parse(data) for data in known if data is not None))
                self._engine.remove_orphans()
            self._settle()

    def close(self) -> None:
        """Let go of keepalived, which goes on. Called once, last."""
        self._engine.close()

    def _store(self, data: bytes, name: str) -> str:
        self._install_scripts()
        _, output = self._engine.stage(data)
        try:
            files.rename(self._layout.staged, self._layout.directory / name)
        finally:
            self._engine.unstage()
        return output

    def _start_or_reload(self, action: str) -> Outcome:
        with self._locks.hold(KEEPALIVED):
            data = self.configuration()
            if self._engine.status().state is ServiceState.RUNNING:
                evidence = self._apply(action, data, self._engine.reload, self._undo_reload)
                return Outcome(Done.RELOADED, f"keepalived reloaded (pid {evidence.main_pid})")
            evidence = self._apply(action, data, self._engine.start, self._undo_start)
            return Outcome(Done.STARTED, f"keepalived started (pid {evidence.main_pid})")

    def _apply(self, action: str, data: bytes, act: _Act, undo: Callable[[], str]) -> KeepalivedEvidence:
        try:
            configuration, _ = self._engine.stage(data)
        except Exception as error:
            interrupted = self._layout.under_way.exists()
            self._fail(action, error, undo if interrupted else _nothing_to_undo)
        files.write_atomically(self._layout.under_way, action.encode())
        try:
            evidence = act(configuration, self._engine.swap())
            files.write_atomically(self._layout.proven, data)
        except Exception as error:
            self._fail(action, error, undo)
        files.remove(self._layout.under_way)
        LOG.info("%s of keepalived proven: %s", action, evidence)
        return evidence

    def _fail(self, action: str, error: Exception, undo: Callable[[], str]) -> NoReturn:
        try:
            self._engine.unstage()
            outcome = f"{undo()} {self._restore_stored()}"
            files.remove(self._layout.under_way)
        except Exception as failure:
            # The marker stays, so that the agent's next start tries again.
            LOG.error("restoring keepalived failed", exc_info=failure)
            outcome = f"Additionally, restoring the former state failed: {failure}"
        raise VrrpActionFailed(action, f"{error}\n{outcome}") from error

    def _undo_start(self) -> str:
        self._engine.stop()
        self._engine.restore_files()
        return "keepalived is stopped, as it was before."

    def _undo_reload(self) -> str:
        restored = self._engine.restore_files()
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
        proven = files.read_if_present(self._layout.proven)
        if proven is None:
            return "The stored configuration stays, as none was ever proven to run."
        if proven == files.read_if_present(self._layout.rendered):
            files.remove(self._layout.stored)
        else:
            files.write_atomically(self._layout.stored, proven)
        return "The last proven configuration is stored again."

    def _settle(self) -> None:
        """Finish or undo what was under way when the agent was killed. Safe to repeat."""
        if not self._layout.under_way.exists():
            return
        if self._engine.status().state.is_at_rest:
            self._undo_start()
            files.remove(self._layout.under_way)
            LOG.warning("undid the interrupted start of keepalived")
            return
        try:
            evidence = self._apply("reload", self.configuration(), self._engine.reload, self._undo_reload)
            LOG.warning("finished the interrupted change of keepalived: %s", evidence)
        except AmphoraError as error:
            LOG.warning("undid the interrupted change of keepalived: %s", error)


def _nothing_to_undo() -> str:
    return "No process was touched."
