# SPDX-License-Identifier: Apache-2.0
"""Drift of keepalived's configurations: stored, proven, and what it is started from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from amphora.core.drift.configurations import AnyWorkload, Configurations
from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files

#: Differences that need no reload.
_OF_STORED = frozenset({DriftReason.STORED_EDITED, DriftReason.STORED_MISSING})


class KeepalivedInspector:
    """Compares the files of each keepalived with one another.

    :param workloads: returns those that there are.
    """

    group = "configs"
    areas = frozenset({DriftArea.CONFIGS})

    def __init__(
        self, workloads: Callable[[], Iterable[AnyWorkload]], configurations: Configurations
    ) -> None:
        self._workloads = workloads
        self._configurations = configurations

    def targets(self) -> list[str]:
        """Return the lock of each."""
        return [each.id for each in self._workloads()]

    def look(self, target: str) -> list[Difference]:
        """Compare one."""
        return [found for each in self._of(target) for found in self._compare(each)]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs."""
        reasons = {each.reason for each in differences}
        return "; ".join(done for each in self._of(target) for done in self._heal(each, reasons))

    def _of(self, target: str) -> list[AnyWorkload]:
        return [each for each in self._workloads() if each.id == target]

    def _heal(self, each: AnyWorkload, reasons: set[DriftReason]) -> Iterator[str]:
        good = self._configurations.good(each)
        if good is not None and reasons & _OF_STORED:
            each.upload(good)
            yield "the proven configuration was stored again"
        if (
            reasons - _OF_STORED
            and each.status().state is ServiceState.RUNNING
            and _is_same(each, good, each.stored_configuration())
        ):
            yield str(each.reload())

    def _compare(self, each: AnyWorkload) -> Iterator[Difference]:
        at_rest = each.status().state.is_at_rest
        yield from self._of_stored(each, at_rest)
        if not at_rest and (each.files.proven.exists() or self._is_modified(each, each.files.proven)):
            yield from self._of_running(each)

    def _of_stored(self, each: AnyWorkload, at_rest: bool) -> Iterator[Difference]:
        stored, good = each.stored_configuration(), self._configurations.good(each)
        if _is_same(each, stored, good) or (stored is None and at_rest):
            return
        if stored is None or self._is_modified(each, each.files.stored):
            reason = DriftReason.STORED_MISSING if stored is None else DriftReason.STORED_EDITED
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(each, reason, desired, digest_of(stored))
        else:
            reason = DriftReason.PENDING_START if at_rest else DriftReason.PENDING_RELOAD
            yield _config(each, reason, digest_of(stored), digest_of(good))

    def _of_running(self, each: AnyWorkload) -> Iterator[Difference]:
        good, running = self._configurations.good(each), files.read_if_present(each.files.running)
        if self._is_modified(each, each.files.proven):
            proven = digest_of(files.read_if_present(each.files.proven))
            yield _config(each, DriftReason.PROVEN_EDITED, digest_of(good), proven)
        if running is None:
            yield _config(each, DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        elif good is None or running != each.as_run(good):
            yield _config(each, DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))

    def _is_modified(self, each: AnyWorkload, path: Path) -> bool:
        return self._configurations.is_modified(each, path)


def _is_same(each: AnyWorkload, one: bytes | None, other: bytes | None) -> bool:
    """Whether two configurations run as the same; None stands for none."""
    both = one is not None and other is not None
    return one == other or (both and each.as_run(one or b"") == each.as_run(other or b""))


def _config(each: AnyWorkload, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, each.id, reason, desired, found)
