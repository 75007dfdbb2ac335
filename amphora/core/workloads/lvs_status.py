# SPDX-License-Identifier: Apache-2.0
"""Reads what LVS listeners are doing. It takes no lock, forks nothing, and asks no other process."""

from __future__ import annotations

from dataclasses import dataclass

from amphora.core.workloads.lvs import LvsEngine
from amphora.core.workloads.lvs_files import LvsDirectory, LvsLayout
from amphora.errors import AmphoraError
from amphora.lvs.configuration import parse
from amphora.models import InstanceState, ServiceState
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

    def __init__(self, directory: LvsDirectory, engine: LvsEngine) -> None:
        self._directory = directory
        self._engine = engine

    def all(self) -> list[LvsStatus]:
        """Return the status of every LVS listener with a stored configuration, sorted by id."""
        return [LvsStatus(layout.listener_id, self._state(layout)) for layout in self._directory.all()]

    def process_count(self) -> int:
        """Return how many of them have a live keepalived."""
        return sum(layout.processes.main() is not None for layout in self._directory.all())

    def _state(self, layout: LvsLayout) -> InstanceState:
        if layout.processes.main() is not None:
            # What runs is what counts; another agent that was here before kept no file of that.
            data = files.read_if_present(layout.running) or files.read_if_present(layout.stored) or b""
            return InstanceState.RUNNING if parse(data).services else InstanceState.STOPPED
        try:
            state = self._engine.status(layout).state
        except AmphoraError:
            state = ServiceState.FAILED
        is_gone = layout.pid_files.main.exists() or not state.is_at_rest
        return InstanceState.ERROR if is_gone else InstanceState.STOPPED
