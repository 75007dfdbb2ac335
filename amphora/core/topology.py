# SPDX-License-Identifier: Apache-2.0
"""How this amphora shares its work with others, and the change from one way to another.

A change runs in the background under a time limit. What is stored is changed last, so that an agent that
was killed in the middle goes back to where it began at its next start.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from amphora.core.changes.journal import OperationState
from amphora.core.changes.operations import AlreadyInEffect, Operations, Steps
from amphora.errors import AmphoraError, ChangeFailed, OperationFailed, TopologyTransition
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

    :ivar role: as configured; None if it does not apply.
    :ivar ha_ip: the address that a pair shares; empty if it does not apply.
    :ivar secret: known to both of a pair; kept out of everything that is printed.
    """

    kind: TopologyKind
    role: Role | None = None
    ha_ip: str = ""
    secret: str = field(default="", repr=False)


class StoredTopology:
    """The topology in force, as it is stored.

    :ivar default: in force until one is set, and if none can be read; another one after the configuration
        was read again.
    """

    def __init__(self, path: Path, default: TopologyKind) -> None:
        self.path = path
        self.default = default

    def current(self) -> Topology:
        """Return the topology in force; during a change, the one it began from."""
        data = files.read_if_present(self.path)
        if data is None:
            return Topology(self.default)
        try:
            return _decode(json.loads(data)["current"])
        except (ValueError, KeyError, TypeError) as error:
            LOG.error("%s cannot be read, so %s is assumed: %s", self.path, self.default, error)
            return Topology(self.default)

    def interface_holds_vip(self) -> bool:
        """Whether the interface itself holds the shared address; in a pair keepalived puts it there."""
        return self.current().kind is not TopologyKind.ACTIVE_STANDBY


class PairKeeper(Protocol):
    """What a change of topology does to the machine. Every method may be repeated."""

    def require_interface(self, topology: Topology) -> None:
        """Return if an interface is there for the shared address.

        :raises InvalidInput: none is.
        """

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

    :param time_limit: seconds a change may take before it is undone.
    """

    def __init__(
        self,
        stored: StoredTopology,
        pair: PairKeeper,
        operations: Operations,
        time_limit: float,
    ) -> None:
        self.stored = stored
        self._operations = operations
        self._staged = stored.path.with_name(f"{stored.path.name}.new")
        self._pair = pair
        self._time_limit = time_limit
        self._guard = threading.Lock()
        self._change: threading.Thread | None = None
        self._error = ""

    def current(self) -> Topology:
        """Return the topology in force; during a change, the one it began from."""
        return self.stored.current()

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

    def error(self) -> str:
        """Return why the last change failed and the state since; empty unless it did."""
        return self._error

    def refuse_during_change(self) -> None:
        """Return if nothing is under way.

        :raises TopologyTransition: a change is.
        """
        if self.is_changing():
            raise TopologyTransition("A topology change is under way; try again when it has ended")

    def change(self, wanted: Topology) -> bool:
        """Begin a change and return True, or return False where the topology is in force already.

        :raises TopologyTransition: another change is under way.
        :raises InvalidInput: no interface is there for the shared address; nothing was begun.
        :raises StorageError: nothing was begun.
        """
        with self._guard:
            self.refuse_during_change()
            former = self.current()
            if wanted == former:
                return False
            if wanted.kind is TopologyKind.ACTIVE_STANDBY:
                self._pair.require_interface(wanted)
            # Now, as the caller can still be answered that there is no room for it.
            files.write_atomically(self._staged, _document(wanted), 0o600)
            self._error = ""
            self._change = threading.Thread(target=self._run, args=(former, wanted), name="topology")
            self._change.start()
            return True

    def recover(self) -> None:
        """Go back to where an interrupted change began. Called once, at start.

        :raises StorageError: what it left cannot be removed.
        """
        interrupted = self._operations.interrupted(_TARGET)
        if interrupted is not None:
            current = self.current()
            is_made = interrupted.intent == _digest(current)
            try:
                outcome = self._go_back(current)
                state = OperationState.DONE if is_made else OperationState.UNDONE
            except OperationFailed as error:
                state, outcome = OperationState.FAILED, str(error)
            self._operations.settle(interrupted, state, outcome)
        last = self._operations.last(_TARGET)
        if last is not None and last.state is not OperationState.DONE:
            self._error = str(ChangeFailed(last.reason, last.evidence))
        files.remove(self._staged)

    def close(self) -> None:
        """Wait for a change that is under way."""
        if self._change is not None:
            self._change.join()

    def _run(self, former: Topology, wanted: Topology) -> None:
        steps = Steps(
            "change",
            _TARGET,
            apply=lambda: self._apply_in_time(wanted),
            prove=lambda: str(wanted),
            commit=lambda: files.rename(self._staged, self.stored.path),
            discard=self._discard,
            restore=lambda: self._restore(former, wanted),
            # Each part of it has a limit of its own, and undoing beside one at work would make a mess.
            limits={"apply": _ENDLESS, "restore": _ENDLESS},
        )
        try:
            self._operations.run(steps, intent=_digest(wanted))
        except AmphoraError as error:
            LOG.error("change to topology %s failed: %s", wanted, error)
            self._error = str(error)

    def _apply_in_time(self, wanted: Topology) -> None:
        began = time.monotonic()
        self._apply(wanted)
        if time.monotonic() - began > self._time_limit:
            raise OperationFailed(f"it took more than {self._time_limit:g} s")

    def _discard(self) -> str:
        files.remove(self._staged)
        return "Nothing was changed."

    def _restore(self, former: Topology, wanted: Topology) -> str:
        if self.current() == wanted:
            raise AlreadyInEffect(f"The topology is {wanted}.")
        outcome = self._go_back(former)
        self._discard()
        return outcome

    def _go_back(self, former: Topology) -> str:
        try:
            self._apply(former)
        except Exception as error:
            raise OperationFailed(f"{former} could not be restored completely: {error}") from error
        return f"The topology is {former}, as before."

    def _apply(self, topology: Topology) -> None:
        if topology.kind is TopologyKind.ACTIVE_STANDBY:
            self._pair.form_pair(topology)
        else:
            self._pair.leave_pair()


def _document(topology: Topology) -> bytes:
    return json.dumps({"current": _encode(topology)}).encode()


def _digest(topology: Topology) -> str:
    return hashlib.sha256(_document(topology)).hexdigest()


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
