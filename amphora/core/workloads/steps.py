# SPDX-License-Identifier: Apache-2.0
"""What a workload does in each step of a change: the same for every program, but for some hooks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Generic, TypeVar

from amphora.core.changes.service_changes import RELOAD
from amphora.core.workloads.files import WorkloadFiles
from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import AmphoraError
from amphora.models import Proof, ServiceSpec, ServiceState, ServiceStatus
from amphora.system import files

#: A configuration as its program's reader returns it, and what is noted of a process before it is reloaded.
C = TypeVar("C")
B = TypeVar("B")

_NO_LIMITS: Mapping[str, float] = MappingProxyType({})


class WorkloadSteps(ABC, Generic[C, B]):
    """Checks, runs and proves configurations of one workload. Used by one change at a time."""

    #: For people.
    program_name: ClassVar[str]
    #: What a rollback of a reload comes to.
    reloaded_back: ClassVar[str] = "goes on"
    #: Whether a reload that fails leaves the former process serving as it did.
    keeps_serving: ClassVar[bool] = False

    def __init__(self, own_files: WorkloadFiles, services: ProcessManager) -> None:
        self.files = own_files
        self._services = services

    @property
    def id(self) -> str:
        """Names it, its lock and its journal."""
        return self.files.id

    def status(self) -> ServiceStatus:
        """Return what its service is doing now. Never forks, never waits for a change."""
        return self._services.status(self.files.service_name)

    def stored_configuration(self) -> bytes | None:
        """Return the configuration that the next start or reload takes, byte for byte, or None."""
        found = (files.read_if_present(path) for path in self.files.sources)
        return next((data for data in found if data is not None), None)

    def configuration(self) -> bytes:
        """Return the configuration that the next start or reload takes, byte for byte.

        :raises NotFound: there is none.
        """
        data = self.stored_configuration()
        if data is None:
            raise self._not_found()
        return data

    def as_run(self, data: bytes) -> bytes:
        """Return an uploaded configuration as it runs here. Safe to repeat.

        :raises InvalidConfiguration: it cannot be read.
        """
        return data

    def are_same(self, one: bytes | None, other: bytes | None) -> bool:
        """Whether two configurations run as the same; None stands for none."""
        return one == other

    def limits(self, configuration: C | None) -> Mapping[str, float]:
        """Return the seconds that steps of a start or reload may take, where the default will not do.

        :param configuration: as it was read; None before it is.
        """
        return _NO_LIMITS

    def stage(self, data: bytes) -> C:
        """Write a configuration as it will run, with an overlay to check it with; return it as read.

        :raises InvalidConfiguration: why it cannot be used.
        """
        as_run = self.as_run(data)
        configuration = self._read(as_run)
        self.files.stage(as_run, self._check_overlay(configuration))
        return configuration

    def stage_upload(self, data: bytes) -> C:
        """Stage a configuration to store."""
        configuration = self.stage(data)
        self.files.receive(data)
        return configuration

    def stage_swap(self, configuration: C) -> None:
        """Write what a rollback will need, and the overlay that a staged configuration will run with."""
        proven = files.read_if_present(self.files.proven)
        if proven is not None:
            as_run = self.as_run(proven)
            self.files.write(self.files.running_back, as_run)
            self.files.write(self.files.overlay_back, self._overlay(self._read(as_run)))
        self.files.write(self.files.next_overlay, self._overlay(configuration))

    @abstractmethod
    def check(self, configuration: C) -> str:
        """Let the program check what is staged, and return its output.

        :raises InvalidConfiguration: that output.
        """

    def check_upload(self, configuration: C) -> str:
        """Let the program check an upload that is staged, and return its output.

        :raises InvalidConfiguration: that output.
        """
        return self.check(configuration)

    def preflight(self, configuration: C, kind: str) -> B | None:
        """Refuse a checked configuration that could not run now; return what runs before it is reloaded.

        :returns: None where only a new start will do.
        :raises OperationFailed: why it could not run.
        """
        return self.before_reload(configuration) if kind == RELOAD else None

    @abstractmethod
    def before_reload(self, configuration: C, *, is_rollback: bool = False) -> B | None:
        """Return what runs, to compare with what runs afterwards; None if only a new start will do.

        :param is_rollback: what runs may not have answered a reload yet.
        :raises OperationFailed: a reload could not be proven.
        """

    def swap(self) -> None:
        """Make the staged files those that the service runs from."""
        self.files.swap()

    def apply(self, configuration: C, before: B | None) -> None:
        """Reload the service; start it anew if nothing ran before.

        :raises OperationFailed: it could not be done.
        """
        if before is None:
            self._start(configuration)
        else:
            self._reload(configuration, before)

    @abstractmethod
    def prove(self, configuration: C, before: B | None) -> Proof:
        """Wait until the service is seen to run with a configuration.

        :raises ProofFailed: it could not be seen in time.
        """

    def commit(self) -> None:
        """Record what runs now as what a rollback returns to. Safe to repeat."""
        self.files.commit()

    def unstage(self) -> None:
        """Remove everything that is there only while a change is under way. Safe to repeat."""
        self.files.unstage()

    def serving(self) -> str:
        """Return a sentence on what goes on serving while a change fails; empty if unknown."""
        return ""

    def still_runs(self, before: B | None) -> bool:
        """Whether what ran before a change still does, so that a reload may bring it back."""
        return self.status().state is ServiceState.RUNNING

    def restore_files(self) -> C | None:
        """Make the proven configuration the one that the service runs from; None if none was ever proven."""
        proven = files.read_if_present(self.files.proven)
        if proven is None:
            files.remove(self.files.running)
            return None
        as_run = self.as_run(proven)
        configuration = self._read(as_run)
        if not self._roll_back_files():
            self.files.write(self.files.overlay, self._overlay(configuration))
            self.files.write(self.files.running, as_run)
        return configuration

    def bring_back(self, configuration: C, before: B | None) -> str:
        """Let the service run the proven configuration again; return what was done.

        :raises OperationFailed: it could not be done or proven.
        """
        if self.still_runs(before):
            how, now = self.reloaded_back, self.before_reload(configuration, is_rollback=True)
        else:
            how, now = "had ended and was started again", None
        self.apply(configuration, now)
        pid = self.prove(configuration, now).pid
        return f"{self.program_name} {how} with its last proven configuration (pid {pid})."

    def end(self) -> None:
        """End the service; it stays installed.

        :raises ServiceError: a process survived.
        """
        self._services.stop(self.files.service_name)

    def _roll_back_files(self) -> bool:
        return self.files.roll_back()

    def _start(self, configuration: C) -> None:
        # After a crash it may be started again over the former files at this very moment.
        self._services.stop(self.files.service_name)
        self._prepare_start(configuration)
        self._services.install(self._spec())
        self._services.start(self.files.service_name)

    def _prepare_start(self, configuration: C) -> None:
        """Remove what would keep it from starting."""

    def _reload(self, configuration: C, before: B) -> None:
        self._start(configuration)

    def _check_overlay(self, configuration: C) -> bytes:
        return self._overlay(configuration)

    @abstractmethod
    def _not_found(self) -> AmphoraError:
        """Return the error for a workload that has no stored configuration."""

    @abstractmethod
    def _read(self, data: bytes) -> C:
        """Return a configuration as read; raise InvalidConfiguration if it is of no use."""

    @abstractmethod
    def _overlay(self, configuration: C) -> bytes:
        """Return the overlay of what the service runs from."""

    @abstractmethod
    def _spec(self) -> ServiceSpec:
        """Return how the process manager should run it."""
