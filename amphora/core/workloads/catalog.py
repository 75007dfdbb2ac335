# SPDX-License-Identifier: Apache-2.0
"""All workloads by id. Controllers act on an id alone; which workload it is of, a stored file decides."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.operations import Operations
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.haproxy import HaproxyWorkload
from amphora.core.workloads.haproxy_files import HaproxyDirectory
from amphora.core.workloads.lvs import LvsWorkload
from amphora.core.workloads.lvs_files import LvsDirectory
from amphora.errors import AmphoraError
from amphora.system import files

LOG = logging.getLogger(__name__)

AnyWorkload = HaproxyWorkload | LvsWorkload


class WorkloadCatalog:
    """Finds workloads.

    :param make_haproxy: returns the instance of an id, whether it exists or not; likewise ``make_lvs``.
    :param on_haproxy_change: called once after all instances were recovered; likewise ``on_lvs_change``.
    """

    def __init__(
        self,
        haproxy_directory: HaproxyDirectory,
        lvs_directory: LvsDirectory,
        operations: Operations,
        make_haproxy: Callable[[str], HaproxyWorkload],
        make_lvs: Callable[[str], LvsWorkload],
        on_haproxy_change: Callable[[], None] = lambda: None,
        on_lvs_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.haproxy = make_haproxy
        self.lvs = make_lvs
        self._operations = operations
        self._haproxy_directory = haproxy_directory
        self._lvs_directory = lvs_directory
        self._on_haproxy_change = on_haproxy_change
        self._on_lvs_change = on_lvs_change
        self._deletions = SingleFlight[None]()

    def haproxies(self) -> list[HaproxyWorkload]:
        """Return every instance of which anything is stored, sorted by id.

        :raises StorageError: they cannot be listed.
        """
        return [self.haproxy(own.id) for own in self._haproxy_directory.all()]

    def lvs_listeners(self) -> list[LvsWorkload]:
        """Return every LVS listener with a stored configuration, sorted by id.

        :raises StorageError: they cannot be listed.
        """
        return [self.lvs(own.id) for own in self._lvs_directory.all()]

    def lvs_remnants(self) -> list[LvsWorkload]:
        """Return every LVS listener of which something is left, but no stored configuration.

        :raises StorageError: they cannot be listed.
        """
        return [self.lvs(own.id) for own in self._lvs_directory.remnants()]

    def workload(self, given_id: str) -> AnyWorkload:
        """Return a workload; an id that is not known is taken for an instance's, whose actions say so."""
        instance, listener = self.haproxy(given_id), self.lvs(given_id)
        return listener if not instance.files.stored.exists() and listener.exists else instance

    def delete(self, given_id: str, expected: Expected = ANYTHING) -> None:
        """Stop a workload and remove all of it.

        A caller that asks for what is under way already gets its result, even if nothing is left by then.

        :raises NotFound: nothing of it is stored, and nothing of it runs.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises OperationFailed: its processes could not be ended.
        """
        self._deletions.join((given_id, expected), lambda: self.workload(given_id).delete(expected))

    def adopt(self) -> None:
        """Take over haproxies that another agent has started. Called once, before services are supervised.

        One that cannot be taken over is logged and left alone.
        """
        for instance in self.haproxies():
            try:
                instance.adopt()
            except AmphoraError as error:
                LOG.error("could not take over the haproxy of %s: %s", instance.id, error)

    def recover_haproxies(self) -> None:
        """Finish or undo what was under way with instances when the agent ended. Called once, at start.

        One that cannot be recovered does not keep the others from it; it is logged.
        """
        self._recover(self.haproxies())
        self._on_haproxy_change()

    def recover_lvs_listeners(self) -> None:
        """Do the same for LVS listeners, those included of which only remnants are left."""
        files.sweep_temporaries(self._lvs_directory.path)
        self._recover([*self.lvs_listeners(), *self.lvs_remnants()])
        self._on_lvs_change()

    def _recover(self, workloads: Iterable[AnyWorkload]) -> None:
        for workload in workloads:
            try:
                workload.recover()
            except AmphoraError as error:
                LOG.error("could not recover the %s of %s: %s", workload.program_name, workload.id, error)
                self._operations.settle_failed(workload.id, error)
