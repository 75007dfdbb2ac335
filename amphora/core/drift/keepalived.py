# SPDX-License-Identifier: Apache-2.0
"""Drift of keepalived's configurations: stored, proven, and what it is started from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.drift.ledger import Ledger
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files

#: Differences that need no reload.
_OF_STORED = frozenset({DriftReason.STORED_EDITED, DriftReason.STORED_MISSING})


@dataclass(frozen=True, slots=True)
class WatchedKeepalived:
    """A keepalived: the one that moves virtual addresses, or that of an LVS listener.

    :ivar target: name of the lock under which it is changed.
    :ivar stored: what was uploaded.
    :ivar configuration: returns what the next start or reload takes, or None.
    :ivar state: of its service.
    :ivar upload: the use case that stores a configuration.
    :ivar reload: the use case that makes the stored one run.
    :ivar as_run: returns what a configuration that was uploaded runs as; safe to repeat.
    """

    target: str
    stored: Path
    running: Path
    proven: Path
    configuration: Callable[[], bytes | None]
    state: Callable[[], ServiceState]
    upload: Callable[[bytes], object]
    reload: Callable[[], object]
    as_run: Callable[[bytes], bytes] = lambda data: data

    def is_same(self, one: bytes | None, other: bytes | None) -> bool:
        """Whether two configurations run as the same; None stands for none."""
        return one == other or (
            one is not None and other is not None and self.as_run(one) == self.as_run(other)
        )


class KeepalivedInspector:
    """Compares the files of each keepalived with one another.

    :param watched: returns those there are.
    """

    group = "configs"
    areas = frozenset({DriftArea.CONFIGS})

    def __init__(self, watched: Callable[[], Iterable[WatchedKeepalived]], ledger: Ledger) -> None:
        self._watched = watched
        self._ledger = ledger

    def targets(self) -> list[str]:
        """Return the lock of each."""
        return [each.target for each in self._watched()]

    def look(self, target: str) -> list[Difference]:
        """Compare one."""
        return [found for each in self._of(target) for found in self._compare(each)]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs."""
        reasons = {each.reason for each in differences}
        return "; ".join(done for each in self._of(target) for done in self._heal(each, reasons))

    def _of(self, target: str) -> list[WatchedKeepalived]:
        return [each for each in self._watched() if each.target == target]

    def _heal(self, each: WatchedKeepalived, reasons: set[DriftReason]) -> Iterator[str]:
        good = self._good(each)
        if good is not None and reasons & _OF_STORED:
            each.upload(good)
            yield "the proven configuration was stored again"
        if (
            reasons - _OF_STORED
            and each.state() is ServiceState.RUNNING
            and each.is_same(good, each.configuration())
        ):
            yield str(each.reload())

    def _compare(self, each: WatchedKeepalived) -> Iterator[Difference]:
        at_rest = each.state().is_at_rest
        yield from self._of_stored(each, at_rest)
        if not at_rest and (each.proven.exists() or self._is_strange(each, each.proven)):
            yield from self._of_running(each)

    def _of_stored(self, each: WatchedKeepalived, at_rest: bool) -> Iterator[Difference]:
        stored, good = each.configuration(), self._good(each)
        if each.is_same(stored, good) or (stored is None and at_rest):
            return
        if stored is None or self._is_strange(each, each.stored):
            reason = DriftReason.STORED_MISSING if stored is None else DriftReason.STORED_EDITED
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(each, reason, desired, digest_of(stored))
        else:
            reason = DriftReason.PENDING_START if at_rest else DriftReason.PENDING_RELOAD
            yield _config(each, reason, digest_of(stored), digest_of(good))

    def _of_running(self, each: WatchedKeepalived) -> Iterator[Difference]:
        good, running = self._good(each), files.read_if_present(each.running)
        if self._is_strange(each, each.proven):
            proven = digest_of(files.read_if_present(each.proven))
            yield _config(each, DriftReason.PROVEN_EDITED, digest_of(good), proven)
        if running is None:
            yield _config(each, DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        elif good is None or running != each.as_run(good):
            yield _config(each, DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))

    def _good(self, each: WatchedKeepalived) -> bytes | None:
        # The proven file may be a second name of the stored one, so that an editor changes both.
        if not self._is_strange(each, each.proven):
            return files.read_if_present(each.proven)
        return None if self._is_strange(each, each.running) else files.read_if_present(each.running)

    def _is_strange(self, each: WatchedKeepalived, path: Path) -> bool:
        return self._ledger.is_strange(each.target, path)


def _config(each: WatchedKeepalived, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, each.target, reason, desired, found)
