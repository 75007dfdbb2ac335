# SPDX-License-Identifier: Apache-2.0
"""How this amphora shares its work with others, and the change from one way to another.

A change runs in the background under a time limit. What is stored says where it began, so that an
agent that was killed in the middle goes back there at its next start.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from amphora.core.journal import OperationState
from amphora.core.operations import Operations, Steps
from amphora.errors import AmphoraError, OperationFailed, TopologyTransition
from amphora.models import Role
from amphora.system import files

LOG = logging.getLogger(__name__)

_TARGET = "topology"
#: Seconds; longer than all parts of a change together.
_ENDLESS = 3600.0


class TopologyKind(Enum):
    """The ways to share work."""

    SINGLE = "SINGLE"
    ACTIVE_STANDBY = "ACTIVE-STANDBY"
    ACTIVE_ACTIVE = "ACTIVE-ACTIVE"


@dataclass(frozen=True, slots=True)
class Topology:
    """One way to share work.

    :ivar role: as configured; None where it does not apply.
    :ivar ha_ip: the address that a pair shares; empty where it does not apply.
    :ivar secret: known to both of a pair; kept out of everything that is printed.
    """

    kind: TopologyKind
    role: Role | None = None
    ha_ip: str = ""
    secret: str = field(default="", repr=False)


class PairKeeper(Protocol):
    """What a change of topology does to the machine. Every method may be repeated."""

    def form_pair(self, topology: Topology) -> None:
        """Let keepalived hold the shared address from now on.

        :raises AmphoraError: it cannot; :meth:`leave_pair` undoes what was done.
        """

    def leave_pair(self) -> None:
        """Stop keepalived and let the interface itself hold the address from now on.

        :raises AmphoraError: it could not be done.
        """

    def role(self) -> Role:
        """Return what keepalived is at this moment, from the running process."""


class TopologyManager:
    """Stores the topology and changes it: one change at a time, in the background.

    The lock here is held for the instant in which a change is begun, never while it runs.

    :ivar default: in force until a change was asked for; another one after the configuration was read
        again.
    :param time_limit: seconds a change may take before it is undone.
    """

    def __init__(
        self,
        state_file: Path,
        default: TopologyKind,
        pair: PairKeeper,
        operations: Operations,
        time_limit: float,
    ) -> None:
        self._operations = operations
        self._state_file = state_file
        self.default = default
        self._pair = pair
        self._time_limit = time_limit
        self._guard = threading.Lock()
        self._change: threading.Thread | None = None

    def current(self) -> Topology:
        """Return the topology in force; during a change, the one it began from."""
        return self._read()[0]

    def role(self) -> Role | None:
        """Return what this amphora is in its pair at this moment; None where that does not apply."""
        return self._pair.role() if self.current().kind is TopologyKind.ACTIVE_STANDBY else None

    def is_active(self) -> bool:
        """Whether this amphora serves traffic: all do but the standby of a pair."""
        return self.current().kind is not TopologyKind.ACTIVE_STANDBY or self._pair.role() is Role.ACTIVE

    def is_changing(self) -> bool:
        """Whether a change is under way."""
        change = self._change
        return change is not None and change.is_alive()

    def refuse_during_change(self) -> None:
        """Return if nothing is under way.

        :raises TopologyTransition: a change is.
        """
        if self.is_changing():
            raise TopologyTransition("A topology change is under way; try again when it has ended")

    def change(self, wanted: Topology) -> bool:
        """Begin a change and return True, or return False where the topology is in force already.

        :raises TopologyTransition: another change is under way.
        :raises StorageError: nothing was begun.
        """
        with self._guard:
            self.refuse_during_change()
            former = self.current()
            if wanted == former:
                return False
            self._write(former, wanted)
            self._change = threading.Thread(target=self._run, args=(former, wanted), name="topology")
            self._change.start()
            return True

    def recover(self) -> None:
        """Go back to where an interrupted change began. Called once, at start."""
        former, wanted = self._read()
        if wanted is not None:
            outcome = self._settle(former)
            interrupted = self._operations.interrupted(_TARGET)
            if interrupted is not None:
                self._operations.settle(interrupted, OperationState.UNDONE, outcome)

    def close(self) -> None:
        """Wait for a change that is under way."""
        if self._change is not None:
            self._change.join()

    def _run(self, former: Topology, wanted: Topology) -> None:
        steps = Steps(
            "change",
            _TARGET,
            act=lambda: self._apply_in_time(wanted),
            prove=lambda: str(wanted),
            keep=lambda: self._write(wanted, None),
            restore=lambda: self._settle(former),
            # Each part of it has a limit of its own, and undoing beside one at work would make a mess.
            limits={"act": _ENDLESS, "restore": _ENDLESS},
        )
        try:
            self._operations.run(steps)
        except AmphoraError as error:
            LOG.error("the change to %s failed, going back to %s: %s", wanted, former, error)
        if self._read()[1] is not None:
            # Not even its journal could be begun.
            self._settle(former)

    def _apply_in_time(self, wanted: Topology) -> None:
        began = time.monotonic()
        self._apply(wanted)
        if time.monotonic() - began > self._time_limit:
            raise OperationFailed(f"it took more than {self._time_limit:g} s")

    def _settle(self, former: Topology) -> str:
        outcome = f"The topology is {former}, as before."
        try:
            self._apply(former)
        except Exception as error:
            outcome = f"{former} could not be restored completely: {error}"
            LOG.error("%s", outcome)
        self._write(former, None)
        return outcome

    def _apply(self, topology: Topology) -> None:
        if topology.kind is TopologyKind.ACTIVE_STANDBY:
            self._pair.form_pair(topology)
        else:
            self._pair.leave_pair()

    def _read(self) -> tuple[Topology, Topology | None]:
        return read_topology(self._state_file, self.default)

    def _write(self, current: Topology, wanted: Topology | None) -> None:
        document = {"current": _encode(current), "wanted": _encode(wanted) if wanted else None}
        files.write_atomically(self._state_file, json.dumps(document).encode(), 0o600)


def read_topology(state_file: Path, default: TopologyKind) -> tuple[Topology, Topology | None]:
    """Return the stored topology and, during a change, the one that it is to end in.

    :param default: in force where none is stored, or none that can be read.
    """
    data = files.read_if_present(state_file)
    if data is None:
        return Topology(default), None
    try:
        document = json.loads(data)
        wanted = document["wanted"]
        return _decode(document["current"]), _decode(wanted) if wanted else None
    except (ValueError, KeyError, TypeError) as error:
        LOG.error("%s cannot be read, so %s is assumed: %s", state_file, default, error)
        return Topology(default), None


def _encode(topology: Topology) -> dict[str, str]:
    return {
        "topology": topology.kind.value,
        "role": topology.role.value if topology.role else "",
        "ha_ip": topology.ha_ip,
        "secret": topology.secret,
    }


def _decode(document: dict[str, str]) -> Topology:
    role = document["role"]
    return Topology(
        TopologyKind(document["topology"]),
        Role(role) if role else None,
        document["ha_ip"],
        document["secret"],
    )
