# SPDX-License-Identifier: Apache-2.0
"""Drift of configurations: stored, proven, what a service is started from, and what haproxy's worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime

from amphora.core.drift.configurations import AnyWorkload, Configurations
from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.errors import ControlSocketError, InvalidConfiguration
from amphora.haproxy.control.stats import StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import parse
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files, processes

_SOCKET_TIMEOUT = 1.0
#: Seconds by which a worker's start is known: the kernel has the time of the boot in whole seconds.
_CLOCK_MARGIN = 2.0

#: Differences that need no reload.
_OF_STORED = frozenset({DriftReason.STORED_EDITED, DriftReason.STORED_MISSING})


class ConfigInspector:
    """Compares the files of each workload with one another, and haproxy's worker with them.

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
        """Return the ids of all workloads."""
        return sorted({each.id for each in self._workloads()})

    def inspect(self, target: str) -> list[Difference]:
        """Compare the workload of an id."""
        return [found for each in self._of(target) for found in self._compare(each)]

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs.

        While an upload waits for its reload nothing is done: it is the controller's turn.
        """
        reasons = {each.reason for each in differences}
        return "; ".join(done for each in self._of(target) for done in self._heal(each, reasons))

    def _of(self, target: str) -> list[AnyWorkload]:
        return [each for each in self._workloads() if each.id == target]

    def _heal(self, each: AnyWorkload, reasons: set[DriftReason]) -> Iterator[str]:
        good = self._configurations.good(each)
        if good is not None and reasons & _OF_STORED:
            each.store_again(good)
            yield "the proven configuration was stored again"
        runs = each.status().state is ServiceState.RUNNING
        if reasons - _OF_STORED and runs and not self._configurations.is_pending(each):
            yield str(each.reload())

    def _compare(self, each: AnyWorkload) -> Iterator[Difference]:
        state = each.status().state
        is_compared = each.is_compared_at_rest or not state.is_at_rest
        stored, good = each.stored_configuration(), self._configurations.good(each)
        if stored is not None or is_compared:
            yield from self._of_stored(each, stored, good, state)
        proven = each.files.proven
        if is_compared and (proven.exists() or self._configurations.is_modified(each, proven)):
            yield from self._of_running(each, good)
            if isinstance(each, HaproxyWorkload):
                yield from self._of_overlay(each)
        if isinstance(each, HaproxyWorkload) and state is ServiceState.RUNNING:
            yield from _of_worker(each.files)

    def _of_stored(
        self, each: AnyWorkload, stored: bytes | None, good: bytes | None, state: ServiceState
    ) -> Iterator[Difference]:
        is_edited = self._configurations.is_modified(each, each.files.stored)
        if each.are_same(stored, good) and not is_edited:
            return
        if stored is None or is_edited:
            reason = DriftReason.STORED_MISSING if stored is None else DriftReason.STORED_EDITED
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(each.id, reason, desired, digest_of(stored))
        else:
            reason = DriftReason.PENDING_START if state.is_at_rest else DriftReason.PENDING_RELOAD
            yield _config(each.id, reason, digest_of(stored), digest_of(good))

    def _of_running(self, each: AnyWorkload, good: bytes | None) -> Iterator[Difference]:
        own, running = each.files, files.read_if_present(each.files.running)
        if running is None:
            yield _config(each.id, DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        # The form in which it runs last: making it is logged.
        elif good is None or (running != good and running != each.as_run(good)):
            yield _config(each.id, DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))
        if self._configurations.is_modified(each, own.proven):
            proven = digest_of(files.read_if_present(own.proven))
            yield _config(each.id, DriftReason.PROVEN_EDITED, digest_of(good), proven)

    def _of_overlay(self, each: HaproxyWorkload) -> Iterator[Difference]:
        own = each.files
        if not own.overlay.exists():
            yield _config(each.id, DriftReason.OVERLAY_MISSING, own.overlay.name, ABSENT)
        elif self._configurations.is_modified(each, own.overlay):
            overlay = digest_of(files.read_if_present(own.overlay))
            yield _config(each.id, DriftReason.OVERLAY_EDITED, "as the agent wrote it", overlay)


def _of_worker(own_files: HaproxyFiles) -> Iterator[Difference]:
    data = files.read_if_present(own_files.running)
    if data is None:
        return
    socket = StatsSocket(own_files.answering_socket(), _SOCKET_TIMEOUT)
    try:
        pid, rows = socket.worker_pid(), socket.statistics()
    except ControlSocketError as error:
        yield _config(own_files.id, DriftReason.WORKER_SILENT, "answers", error.details)
        return
    yield from _of_age(own_files, pid)
    try:
        configuration = parse(data)
    except InvalidConfiguration:
        # That it was edited is reported already.
        return
    for name in sorted(configuration.expected_frontends() - open_frontends(rows)):
        yield _config(f"{own_files.id}/{name}", DriftReason.FRONTEND_CLOSED, "open", "not open")
    if all(frontend.certain for frontend in configuration.frontends):
        known = {frontend.name for frontend in configuration.frontends}
        for name in sorted({row.proxy for row in rows if row.is_frontend} - known):
            yield _config(f"{own_files.id}/{name}", DriftReason.FRONTEND_UNKNOWN, ABSENT, "open")


def _of_age(own_files: HaproxyFiles, pid: int) -> Iterator[Difference]:
    process = processes.identify(pid)
    try:
        written = datetime.fromtimestamp(own_files.running.stat().st_mtime, UTC)
    except OSError:
        return
    if process is not None and (written - process.started_at()).total_seconds() > _CLOCK_MARGIN:
        desired = f"begun after {written:%Y-%m-%dT%H:%M:%SZ}, when running.cfg was written"
        found = f"process {pid} of {process.started_at():%Y-%m-%dT%H:%M:%SZ}"
        yield _config(own_files.id, DriftReason.WORKER_OUTDATED, desired, found)


def _config(subject: str, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, subject, reason, desired, found)
