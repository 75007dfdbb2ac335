# SPDX-License-Identifier: Apache-2.0
"""The two changes that replace what a workload has or runs: an upload, and a start or reload.

:mod:`amphora.core.changes.operations` owns the order of their steps.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic

from amphora.core.changes.operations import AlreadyInEffect
from amphora.core.changes.service_changes import RELOAD, UPLOAD
from amphora.core.workloads.steps import B, C, WorkloadSteps
from amphora.errors import InvalidConfiguration, OperationFailed, StorageError
from amphora.models import Proof
from amphora.system import files

LOG = logging.getLogger(__name__)

#: For a configuration that comes alone.
NOTHING_BESIDE: Mapping[Path, bytes] = MappingProxyType({})


class Upload(Generic[C]):
    """Stores a configuration; it takes effect with the next start or reload.

    :param path: where it is stored.
    :param beside: further files that come with it, by where they are kept until it is stored.
    """

    kind = UPLOAD
    limits: Mapping[str, float] = MappingProxyType({})

    def __init__(
        self,
        workload: WorkloadSteps[C, Any],
        data: bytes,
        path: Path,
        beside: Mapping[Path, bytes] = NOTHING_BESIDE,
    ) -> None:
        self.target = workload.id
        self._workload = workload
        self._data = data
        self._path = path
        self._beside = beside
        self._staged: C | None = None
        self._output = ""

    def stage(self) -> None:
        """Write what was received, and what would run."""
        self._staged = self._workload.stage_upload(self._data)
        for path, data in self._beside.items():
            files.write_atomically(path, data)

    def check(self) -> str:
        """Let the program check it, and return its output."""
        self._output = self._workload.check_upload(_required(self._staged))
        return self._output

    def swap(self) -> None:
        """Make it the stored one."""
        self._workload.files.store_received(self._path)

    def commit(self) -> None:
        """Remove what only the check needed."""
        self._workload.unstage()

    def discard(self) -> str:
        """Leave what was stored, or nothing."""
        return self._workload.files.discard_upload(self._path)

    def restore(self) -> str:
        """Nothing can have been lost: the stored configuration is replaced in one instant.

        :raises AlreadyInEffect: it was.
        """
        if self._workload.files.received.exists():
            return self.discard()
        raise _in_effect(self._workload, self._output)


class Activation(Generic[C, B]):
    """Makes the stored configuration of a workload the one that runs.

    :param kind: ``start`` or ``reload``.
    :param ran_before: whether it runs with the proven configuration after a failure; else it is stopped.
        None: after that of a reload.
    :ivar proof: what showed that it runs.
    :ivar has_swapped: whether something live was touched.
    """

    def __init__(self, workload: WorkloadSteps[C, B], kind: str, *, ran_before: bool | None = None) -> None:
        self.kind = kind
        self._ran_before = kind == RELOAD if ran_before is None else ran_before
        self.target = workload.id
        self.proof = Proof(0, "")
        self.has_swapped = False
        self._workload = workload
        self._staged: C | None = None
        self._before: B | None = None

    @property
    def limits(self) -> Mapping[str, float]:
        """More than by default where the program takes its time."""
        return self._workload.limits(self._staged)

    @property
    def configuration(self) -> C:
        """What will run, as read.

        :raises OperationFailed: it was not staged.
        """
        return _required(self._staged)

    def stage(self) -> None:
        """Write what will run, and what a rollback will need."""
        workload, data = self._workload, self._workload.configuration()
        try:
            self._staged = workload.stage(data)
        except InvalidConfiguration as error:
            raise OperationFailed(error.details) from error
        workload.files.stage_commit(data)
        workload.stage_swap(self._staged)

    def check(self) -> None:
        """Let the program check it once more: what it names may have changed since the upload."""
        try:
            self._workload.check(self.configuration)
        except InvalidConfiguration as error:
            raise OperationFailed(error.details) from error

    def preflight(self) -> None:
        """Refuse what could not run, and note what runs."""
        self._before = self._workload.preflight(self.configuration, self.kind)

    def swap(self) -> None:
        """Make it what the service runs from."""
        self.has_swapped = True
        self._workload.swap()

    def apply(self) -> None:
        """Start or reload the service."""
        self._workload.apply(self.configuration, self._before)

    def prove(self) -> str:
        """See it serve."""
        self.proof = self._workload.prove(self.configuration, self._before)
        return self.proof.evidence

    def commit(self) -> None:
        """Make it what a later failure comes back to."""
        self._workload.commit()

    def discard(self) -> str:
        """No process was touched."""
        return self._tidied(f"No process was touched.{self._workload.serving()}")

    def restore(self) -> str:
        """Bring back what ran.

        :raises AlreadyInEffect: what runs is what to come back to already.
        """
        workload, name = self._workload, self._workload.program_name
        if self.has_swapped and not workload.files.to_be_proven.exists():
            raise _in_effect(workload, self.proof.evidence)
        may_go_on = self._ran_before and workload.keeps_serving and not workload.files.proven.exists()
        if may_go_on and workload.still_runs(self._before):
            return self._tidied(f"{name} goes on as it was.")
        configuration = workload.restore_files()
        try:
            if self._ran_before and configuration is not None:
                state = workload.bring_back(configuration, self._before)
            else:
                workload.end()
                state = f"{name} is stopped, as it was before."
        except Exception:
            # Otherwise each later start of the agent would load again what has failed.
            self._tidied()
            raise
        return self._tidied(state)

    def _tidied(self, state: str = "") -> str:
        stored = self._workload.files.store_proven()
        self._workload.unstage()
        return f"{state} {stored}"


def _required(staged: C | None) -> C:
    if staged is None:
        raise OperationFailed("nothing is staged")
    return staged


def _in_effect(workload: WorkloadSteps[Any, Any], outcome: str) -> AlreadyInEffect:
    """Return that a change is in effect, though not all that it needed could be removed."""
    try:
        workload.unstage()
    except StorageError as error:
        LOG.warning("the next start of the agent cleans up after %s: %s", workload.id, error)
    return AlreadyInEffect(outcome)
