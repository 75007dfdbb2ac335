# SPDX-License-Identifier: Apache-2.0
"""How this amphora shares its work with others, and the change from one way to another.

A change runs in the background under a time limit. What is stored says where it began, so that an
agent that was killed in the middle goes back there at its next start.
"""

from __future__ import annotations

import json
import logging
import threading
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from amphora.errors import TopologyTransition
from amphora.models import Role
from amphora.system import files

LOG = logging.getLogger(__name__)


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

    def __init__(self, state_file: Path, default: TopologyKind, pair: PairKeeper, time_limit: float) -> None:
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
            LOG.warning("the change to %s was interrupted; going back to %s", wanted, former)
            self._settle(former)

    def close(self) -> None:
        """Wait for a change that is under way."""
        if self._change is not None:
            self._change.join()

    def _run(self, former: Topology, wanted: Topology) -> None:
        failures: list[Exception] = []
        worker = threading.Thread(target=self._attempt, args=(wanted, failures), name="topology-change")
        worker.start()
        worker.join(self._time_limit)
        if worker.is_alive():
            failures.append(TimeoutError(f"it took more than {self._time_limit:g} s"))
            # Each step has a limit of its own, and undoing beside a step at work would make a mess.
            worker.join()
        if not failures:
            self._write(wanted, None)
            LOG.info("topology is now %s", wanted)
            return
        LOG.error("the change to %s failed, going back to %s: %s", wanted, former, failures[0])
        self._settle(former)

    def _attempt(self, wanted: Topology, failures: list[Exception]) -> None:
        try:
            self._apply(wanted)
        except Exception as error:  # whatever it is, the former topology is restored
            failures.append(error)

    def _settle(self, former: Topology) -> None:
        try:
            self._apply(former)
        except Exception as error:
            LOG.error("%s could not be restored completely: %s", former, error)
        self._write(former, None)

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
