# SPDX-License-Identifier: Apache-2.0
"""Drift of haproxy's configurations: stored, proven, what it is started from, and what its worker runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from amphora.core.drift.configurations import Configurations
from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyFiles
from amphora.errors import ControlSocketError, InvalidConfiguration
from amphora.haproxy.control.stats import StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import parse
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files, processes

_SOCKET_TIMEOUT = 1.0
#: Seconds by which a worker's start is known: the kernel tells the time of the boot in whole seconds.
_CLOCK_MARGIN = 2.0


class ConfigInspector:
    """Compares the files of each instance with one another, and its worker with them."""

    group = "configs"
    areas = frozenset({DriftArea.CONFIGS})

    def __init__(self, configurations: Configurations, catalog: WorkloadCatalog) -> None:
        self._configurations = configurations
        self._catalog = catalog

    def targets(self) -> list[str]:
        """Return the ids of all instances, and of those whose directory somebody else has removed."""
        known = {instance.id for instance in self._catalog.haproxies()}
        return sorted(known.union(filter(self._is_lost, self._configurations.baseline.names())))

    def look(self, target: str) -> list[Difference]:
        """Compare one instance."""
        instance = self._catalog.haproxy(target)
        state = instance.status().state
        found = [*self._of_stored(instance, state), *self._of_running(instance)]
        if state is ServiceState.RUNNING:
            found += _of_worker(instance.files)
        return found

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs.

        While an upload waits for its reload nothing is done: it is the controller's turn.
        """
        instance = self._catalog.haproxy(target)
        good = self._configurations.good(instance)
        reasons = {each.reason for each in differences}
        done = []
        if good is not None and reasons & {DriftReason.STORED_EDITED, DriftReason.STORED_MISSING}:
            instance.upload(good, may_be_idle=True)
            done.append("the proven configuration was stored again")
            reasons -= {DriftReason.STORED_EDITED, DriftReason.STORED_MISSING}
        runs = instance.status().state is ServiceState.RUNNING
        if reasons and runs and not self._configurations.is_pending(instance):
            done.append(str(instance.reload()))
        return "; ".join(done)

    def _is_lost(self, name: str) -> bool:
        """Whether others have removed the directory of what the agent knows as an instance."""
        own = self._catalog.haproxy(name).files
        return not own.directory.exists() and own.stored in self._configurations.baseline.removed(name)

    def _of_stored(self, instance: HaproxyWorkload, state: ServiceState) -> Iterator[Difference]:
        stored, good = instance.stored_configuration(), self._configurations.good(instance)
        strange = self._configurations.is_modified(instance, instance.files.stored)
        if stored == good and not strange:
            return
        if stored is None:
            reason = DriftReason.STORED_MISSING
        elif strange:
            reason = DriftReason.STORED_EDITED
        else:
            reason = DriftReason.PENDING_START if state.is_at_rest else DriftReason.PENDING_RELOAD
        if reason.is_pending:
            yield _config(instance.id, reason, digest_of(stored), digest_of(good))
        else:
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(instance.id, reason, desired, digest_of(stored))

    def _of_running(self, instance: HaproxyWorkload) -> Iterator[Difference]:
        own, name = instance.files, instance.id
        good, running = self._configurations.good(instance), files.read_if_present(own.running)
        if good is None and not own.proven.exists():
            return
        if running is None:
            yield _config(name, DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        # Adapting last: it is told in the log.
        elif good is None or (running != good and running != instance.as_run(good)):
            yield _config(name, DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))
        if self._configurations.is_modified(instance, own.proven):
            proven = digest_of(files.read_if_present(own.proven))
            yield _config(name, DriftReason.PROVEN_EDITED, digest_of(good), proven)
        if not own.overlay.exists():
            yield _config(name, DriftReason.OVERLAY_MISSING, own.overlay.name, ABSENT)
        elif self._configurations.is_modified(instance, own.overlay):
            overlay = digest_of(files.read_if_present(own.overlay))
            yield _config(name, DriftReason.OVERLAY_EDITED, "as the agent wrote it", overlay)


def _of_worker(layout: HaproxyFiles) -> Iterator[Difference]:
    data = files.read_if_present(layout.running)
    if data is None:
        return
    socket = StatsSocket(layout.answering_socket(), _SOCKET_TIMEOUT)
    try:
        pid, rows = socket.worker_pid(), socket.statistics()
    except ControlSocketError as error:
        yield _config(layout.id, DriftReason.WORKER_SILENT, "answers", error.details)
        return
    yield from _of_age(layout, pid)
    try:
        configuration = parse(data)
    except InvalidConfiguration:
        # What it was edited into is told already.
        return
    for name in sorted(configuration.expected_frontends() - open_frontends(rows)):
        yield _config(f"{layout.id}/{name}", DriftReason.FRONTEND_CLOSED, "open", "not open")
    if all(frontend.certain for frontend in configuration.frontends):
        known = {frontend.name for frontend in configuration.frontends}
        for name in sorted({row.proxy for row in rows if row.is_frontend} - known):
            yield _config(f"{layout.id}/{name}", DriftReason.FRONTEND_UNKNOWN, ABSENT, "open")


def _of_age(layout: HaproxyFiles, pid: int) -> Iterator[Difference]:
    process = processes.identify(pid)
    written = modified_at(layout)
    if process is None or written is None:
        return
    started = process.started_at()
    if (written - started).total_seconds() > _CLOCK_MARGIN:
        desired = f"begun after {written:%Y-%m-%dT%H:%M:%SZ}, when running.cfg was written"
        found = f"process {pid} of {started:%Y-%m-%dT%H:%M:%SZ}"
        yield _config(layout.id, DriftReason.WORKER_OUTDATED, desired, found)


def modified_at(layout: HaproxyFiles) -> datetime | None:
    """Return when what an instance is started from was written, in UTC; None where it is missing."""
    try:
        return datetime.fromtimestamp(layout.running.stat().st_mtime, UTC)
    except OSError:
        return None


def _config(subject: str, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, subject, reason, desired, found)
