# SPDX-License-Identifier: Apache-2.0
"""Reads what LVS listeners are doing. It takes no lock, forks nothing, and asks no other process."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.workloads.catalog import WorkloadCatalog
from amphora.core.workloads.lvs import LvsWorkload
from amphora.lvs.configuration import parse
from amphora.models import InstanceState
from amphora.system import files


@dataclass(frozen=True, slots=True)
class LvsStatus:
    """One LVS listener at one moment.

    :ivar state: STOPPED also where it runs and has nothing to serve, as a listener without a pool.
    """

    id: str
    state: InstanceState


class LvsStatusReader:
    """Answers status questions."""

    def __init__(self, catalog: WorkloadCatalog) -> None:
        self._catalog = catalog

    def all(self) -> list[LvsStatus]:
        """Return the status of every LVS listener with a stored configuration, sorted by id."""
        return [LvsStatus(each.id, _state(each)) for each in self._catalog.lvs_listeners()]

    def process_count(self) -> int:
        """Return how many of them have a live keepalived."""
        return sum(each.files.processes.main() is not None for each in self._catalog.lvs_listeners())


def _state(listener: LvsWorkload) -> InstanceState:
    own = listener.files
    if own.processes.main() is not None:
        # What runs is what counts; another agent that was here before kept no file of that.
        data = files.read_if_present(own.running) or files.read_if_present(own.stored) or b""
        return InstanceState.RUNNING if parse(data).services else InstanceState.STOPPED
    is_gone = own.pid_file.exists() or not listener.state().is_at_rest
    return InstanceState.ERROR if is_gone else InstanceState.STOPPED
