# SPDX-License-Identifier: Apache-2.0
"""Drift of keepalived's configuration: stored, proven, and what it is started from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from amphora.core.drift_inspection import ABSENT, digest_of
from amphora.core.drift_ledger import Ledger
from amphora.core.locks import KEEPALIVED
from amphora.core.vrrp import Vrrp
from amphora.core.vrrp_layout import VrrpLayout
from amphora.errors import VrrpNotConfigured
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files


class KeepalivedInspector:
    """Compares the files of the one keepalived with one another.

    :param status: state of its service.
    """

    group = "configs"
    areas = frozenset({DriftArea.CONFIGS})

    def __init__(
        self, layout: VrrpLayout, vrrp: Vrrp, ledger: Ledger, status: Callable[[], ServiceState]
    ) -> None:
        self._layout = layout
        self._vrrp = vrrp
        self._ledger = ledger
        self._status = status

    def targets(self) -> tuple[str, ...]:
        """There is at most one."""
        return (KEEPALIVED,) if self._layout.directory.is_dir() else ()

    def look(self, target: str) -> list[Difference]:
        """Compare."""
        return [*self._of_stored(), *self._of_running()]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs."""
        good = self._good()
        reasons = {each.reason for each in differences}
        done = []
        if good is not None and DriftReason.STORED_EDITED in reasons:
            self._vrrp.upload(good)
            done.append("the proven configuration was stored again")
        runs = self._status() is ServiceState.RUNNING
        if reasons - {DriftReason.STORED_EDITED} and runs and good == self._stored():
            done.append(str(self._vrrp.reload()))
        return "; ".join(done)

    def _of_stored(self) -> Iterator[Difference]:
        stored, good = self._stored(), self._good()
        if stored is None or stored == good:
            return
        if self._is_strange(self._layout.stored):
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(DriftReason.STORED_EDITED, desired, digest_of(stored))
        elif self._status().is_at_rest:
            yield _config(DriftReason.PENDING_START, digest_of(stored), digest_of(good))
        else:
            yield _config(DriftReason.PENDING_RELOAD, digest_of(stored), digest_of(good))

    def _of_running(self) -> Iterator[Difference]:
        good, running = self._good(), files.read_if_present(self._layout.running)
        if self._status().is_at_rest or not self._layout.proven.exists():
            return
        if self._is_strange(self._layout.proven):
            proven = digest_of(files.read_if_present(self._layout.proven))
            yield _config(DriftReason.PROVEN_EDITED, digest_of(good), proven)
        if running is None:
            yield _config(DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        elif running != good:
            yield _config(DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))

    def _good(self) -> bytes | None:
        # The proven file may be a second name of the stored one, so that an editor changes both.
        if not self._is_strange(self._layout.proven):
            return files.read_if_present(self._layout.proven)
        return None if self._is_strange(self._layout.running) else files.read_if_present(self._layout.running)

    def _is_strange(self, path: Path) -> bool:
        return self._ledger.is_strange(KEEPALIVED, path)

    def _stored(self) -> bytes | None:
        try:
            return self._vrrp.configuration()
        except VrrpNotConfigured:
            return None


def _config(reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, KEEPALIVED, reason, desired, found)
