# SPDX-License-Identifier: Apache-2.0
"""Drift of haproxy's configurations: stored, proven, what it is started from, and what its worker runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from amphora.core.drift.inspection import ABSENT, digest_of
from amphora.core.drift.ledger import Ledger
from amphora.core.workloads.haproxy_files import InstanceDirectory, InstanceLayout
from amphora.core.workloads.workload import Instances
from amphora.errors import ControlSocketError, InvalidConfiguration
from amphora.haproxy.control.stats import StatsSocket, open_frontends
from amphora.haproxy.reading.configuration import parse
from amphora.models import Difference, DriftArea, DriftReason, ServiceState
from amphora.system import files, processes

_SOCKET_TIMEOUT = 1.0
#: Seconds by which a worker's start is known: the kernel tells the time of the boot in whole seconds.
_CLOCK_MARGIN = 2.0


@dataclass(frozen=True, slots=True)
class InstanceStore:
    """What is known of instances without changing them.

    :ivar state: of an instance's service.
    :ivar adapt: turns a stored configuration into the one that runs here.
    """

    directory: InstanceDirectory
    ledger: Ledger
    state: Callable[[InstanceLayout], ServiceState]
    adapt: Callable[[bytes], bytes]

    def is_pending(self, instance_id: str) -> bool:
        """Whether a start or reload would take up another configuration than the one that was proven."""
        layout = self.directory.layout(instance_id)
        return files.read_if_present(layout.stored) != self.good(layout) or self.is_strange(layout.stored)

    def good(self, layout: InstanceLayout) -> bytes | None:
        """Return the configuration that was proven last, or None.

        The proven file may be a second name of the stored one, so that an editor changes both; what the
        service was started from is told by then by a file of its own.
        """
        if not self.is_strange(layout.proven):
            return files.read_if_present(layout.proven)
        return None if self.is_strange(layout.running) else files.read_if_present(layout.running)

    def is_lost(self, name: str) -> bool:
        """Whether somebody else has removed the directory of what the agent knows as an instance."""
        layout = self.directory.layout(name)
        return not layout.directory.exists() and layout.stored in self.ledger.removed(name)

    def is_strange(self, path: Path) -> bool:
        """Whether a file of an instance's own directory is not as the agent left it."""
        return self.ledger.is_strange(path.parent.name, path)


class ConfigInspector:
    """Compares the files of each instance with one another, and its worker with them."""

    group = "configs"
    areas = frozenset({DriftArea.CONFIGS})

    def __init__(self, store: InstanceStore, instances: Instances) -> None:
        self._store = store
        self._instances = instances

    def targets(self) -> list[str]:
        """Return the ids of all instances, and of those whose directory somebody else has removed."""
        known = {layout.instance_id for layout in self._store.directory.all()}
        return sorted(known.union(name for name in self._store.ledger.names() if self._store.is_lost(name)))

    def look(self, target: str) -> list[Difference]:
        """Compare one instance."""
        layout = self._store.directory.layout(target)
        state = self._store.state(layout)
        found = [*self._of_stored(layout, state), *self._of_running(layout)]
        if state is ServiceState.RUNNING:
            found += _of_worker(layout)
        return found

    def heal(self, target: str, differences: Sequence[Difference]) -> str:
        """Store the proven configuration again where the stored one was edited, and reload what runs.

        While an upload waits for its reload nothing is done: it is the controller's turn.
        """
        layout = self._store.directory.layout(target)
        good = self._store.good(layout)
        reasons = {each.reason for each in differences}
        done = []
        if good is not None and reasons & {DriftReason.STORED_EDITED, DriftReason.STORED_MISSING}:
            self._instances.upload(target, good, may_be_idle=True)
            done.append("the proven configuration was stored again")
            reasons -= {DriftReason.STORED_EDITED, DriftReason.STORED_MISSING}
        runs = self._store.state(layout) is ServiceState.RUNNING
        if reasons and runs and not self._store.is_pending(target):
            done.append(str(self._instances.reload(target)))
        return "; ".join(done)

    def _of_stored(self, layout: InstanceLayout, state: ServiceState) -> Iterator[Difference]:
        stored, good = files.read_if_present(layout.stored), self._store.good(layout)
        strange = self._store.is_strange(layout.stored)
        if stored == good and not strange:
            return
        if stored is None:
            reason = DriftReason.STORED_MISSING
        elif strange:
            reason = DriftReason.STORED_EDITED
        else:
            reason = DriftReason.PENDING_START if state.is_at_rest else DriftReason.PENDING_RELOAD
        if reason.is_pending:
            yield _config(layout.instance_id, reason, digest_of(stored), digest_of(good))
        else:
            desired = digest_of(good) if good is not None else "as it was uploaded"
            yield _config(layout.instance_id, reason, desired, digest_of(stored))

    def _of_running(self, layout: InstanceLayout) -> Iterator[Difference]:
        good, running = self._store.good(layout), files.read_if_present(layout.running)
        if good is None and not layout.proven.exists():
            return
        name = layout.instance_id
        if running is None:
            yield _config(name, DriftReason.RUNNING_MISSING, digest_of(good), ABSENT)
        # Adapting last: it is told in the log.
        elif good is None or (running != good and running != self._store.adapt(good)):
            yield _config(name, DriftReason.RUNNING_EDITED, digest_of(good), digest_of(running))
        if self._store.is_strange(layout.proven):
            proven = digest_of(files.read_if_present(layout.proven))
            yield _config(name, DriftReason.PROVEN_EDITED, digest_of(good), proven)
        if not layout.overlay.exists():
            yield _config(name, DriftReason.OVERLAY_MISSING, layout.overlay.name, ABSENT)
        elif self._store.is_strange(layout.overlay):
            overlay = digest_of(files.read_if_present(layout.overlay))
            yield _config(name, DriftReason.OVERLAY_EDITED, "as the agent wrote it", overlay)


def _of_worker(layout: InstanceLayout) -> Iterator[Difference]:
    data = files.read_if_present(layout.running)
    if data is None:
        return
    socket = StatsSocket(layout.answering_socket(), _SOCKET_TIMEOUT)
    try:
        pid, rows = socket.worker_pid(), socket.statistics()
    except ControlSocketError as error:
        yield _config(layout.instance_id, DriftReason.WORKER_SILENT, "answers", error.details)
        return
    yield from _of_age(layout, pid)
    try:
        configuration = parse(data)
    except InvalidConfiguration:
        # What it was edited into is told already.
        return
    for name in sorted(configuration.expected_frontends() - open_frontends(rows)):
        yield _config(f"{layout.instance_id}/{name}", DriftReason.FRONTEND_CLOSED, "open", "not open")
    if all(frontend.certain for frontend in configuration.frontends):
        known = {frontend.name for frontend in configuration.frontends}
        for name in sorted({row.proxy for row in rows if row.is_frontend} - known):
            yield _config(f"{layout.instance_id}/{name}", DriftReason.FRONTEND_UNKNOWN, ABSENT, "open")


def _of_age(layout: InstanceLayout, pid: int) -> Iterator[Difference]:
    process = processes.identify(pid)
    written = modified_at(layout)
    if process is None or written is None:
        return
    started = process.started_at()
    if (written - started).total_seconds() > _CLOCK_MARGIN:
        desired = f"begun after {written:%Y-%m-%dT%H:%M:%SZ}, when running.cfg was written"
        found = f"process {pid} of {started:%Y-%m-%dT%H:%M:%SZ}"
        yield _config(layout.instance_id, DriftReason.WORKER_OUTDATED, desired, found)


def modified_at(layout: InstanceLayout) -> datetime | None:
    """Return when what an instance is started from was written, in UTC; None where it is missing."""
    try:
        return datetime.fromtimestamp(layout.running.stat().st_mtime, UTC)
    except OSError:
        return None


def _config(subject: str, reason: DriftReason, desired: str, found: str) -> Difference:
    return Difference(DriftArea.CONFIGS, subject, reason, desired, found)
