# SPDX-License-Identifier: Apache-2.0
"""Everything that serves clients, under one set of ids, whichever engine it runs on.

Controllers start, stop, reload and delete by id alone. Which engine an id is of is told by the file that is
stored for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from amphora.core.changes.expected import ANYTHING, Expected
from amphora.core.changes.single_flight import SingleFlight
from amphora.core.workloads.haproxy_files import InstanceDirectory
from amphora.core.workloads.lvs_listeners import LvsListeners
from amphora.core.workloads.workload import Instances
from amphora.models import Outcome


class Engine(Enum):
    """What runs an object."""

    HAPROXY = "haproxy"
    LVS = "keepalived (LVS)"


@dataclass(frozen=True, slots=True)
class ServedObject:
    """An object with what can be done to it; see :class:`Instances` and :class:`LvsListeners`."""

    id: str
    engine: Engine
    _of: Instances | LvsListeners

    @property
    def actions(self) -> dict[str, Callable[[], Outcome]]:
        """What can be done to it, by verb."""
        of = self._of
        return {
            "start": lambda: of.start(self.id),
            "stop": lambda: of.stop(self.id),
            "reload": lambda: of.reload(self.id),
        }

    def delete(self, expected: Expected = ANYTHING) -> None:
        """See :meth:`ServedObjects.delete`."""
        self._of.delete(self.id, expected)


class ServedObjects:
    """Finds objects by id."""

    def __init__(self, directory: InstanceDirectory, instances: Instances, lvs: LvsListeners) -> None:
        self._directory = directory
        self._instances = instances
        self._lvs = lvs
        self._deletions = SingleFlight[None]()

    def find(self, object_id: str) -> ServedObject:
        """Return an object; an id that is not known is taken for a load balancer's, whose actions say so."""
        is_instance = self._directory.layout(object_id).stored.exists()
        if not is_instance and self._lvs.knows(object_id):
            return ServedObject(object_id, Engine.LVS, self._lvs)
        return ServedObject(object_id, Engine.HAPROXY, self._instances)

    def delete(self, object_id: str, expected: Expected = ANYTHING) -> None:
        """Stop an object and remove all of it.

        Who asks for what is under way already gets its outcome, whatever is left of it by then.

        :raises NotFound: nothing of it is stored, and nothing of it runs.
        :raises PreconditionFailed: the stored configuration is not the expected one.
        :raises OperationFailed: its processes could not be ended.
        """
        self._deletions.join((object_id, expected), lambda: self.find(object_id).delete(expected))
