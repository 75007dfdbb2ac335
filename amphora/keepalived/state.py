# SPDX-License-Identifier: Apache-2.0
"""States of VRRP instances, as keepalived writes them to its ``vrrp_notify_fifo`` (keepalived.conf(5)).

They are kept across restarts of the agent.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from amphora.errors import StorageError
from amphora.models import Role
from amphora.system import files
from amphora.system.processes import PROC, ProcessIdentity

LOG = logging.getLogger(__name__)

#: Bytes without an end of line that are kept while waiting for one.
_LONGEST_LINE = 1024

_LINE = re.compile(rb'INSTANCE "(?P<name>[^"]*)" (?P<state>[A-Z_]+)(?: (?P<priority>\d{1,9}))?\s*')


class VrrpState(Enum):
    """State of one VRRP instance."""

    MASTER = "MASTER"
    BACKUP = "BACKUP"
    #: Its interface or a script that it follows is down.
    FAULT = "FAULT"
    #: It is gone: keepalived has ended it in order, or a reload has removed it.
    GONE = "GONE"


_STATES = {
    b"MASTER": VrrpState.MASTER,
    # Written in addition while the state stays the same.
    b"MASTER_RX_LOWER_PRI": VrrpState.MASTER,
    b"BACKUP": VrrpState.BACKUP,
    b"FAULT": VrrpState.FAULT,
    b"STOP": VrrpState.GONE,
    b"DELETED": VrrpState.GONE,
}


@dataclass(frozen=True, slots=True)
class Notification:
    """An instance has entered a state."""

    instance: str
    state: VrrpState


def parse_notifications(data: bytes) -> tuple[list[Notification], bytes]:
    """Return what whole lines say, and the beginning of an incomplete line.

    Lines about groups and lines that cannot be read are skipped.
    """
    *lines, rest = data.split(b"\n")
    found = []
    for line in lines:
        match = _LINE.fullmatch(line)
        state = _STATES.get(match["state"]) if match else None
        if match and state is not None:
            found.append(Notification(match["name"].decode("utf-8", "replace"), state))
    return found, rest if len(rest) <= _LONGEST_LINE else b""


class VrrpStates:
    """States of the VRRP process that runs now. Reading waits for nothing and touches memory only.

    A small document on disk lets the next agent know at once; it is believed only if it names the very
    process that runs, by id, start time and boot.

    :param path: of the document.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._process: ProcessIdentity | None = None
        self._states: dict[str, VrrpState] = {}
        self._saved: bytes | None = None

    def get(self) -> Mapping[str, VrrpState]:
        """Return the state of each instance by name; none while no keepalived runs."""
        with self._lock:
            return dict(self._states)

    def role(self) -> Role:
        """Return what this node is: ACTIVE as soon as any instance is master."""
        states = self.get().values()
        if VrrpState.MASTER in states:
            return Role.ACTIVE
        return Role.STANDBY if states else Role.UNKNOWN

    def note(self, notifications: Iterable[Notification]) -> None:
        """Record what keepalived has written, in its order."""
        with self._lock:
            for notification in notifications:
                if notification.state is VrrpState.GONE:
                    self._states.pop(notification.instance, None)
                else:
                    self._states[notification.instance] = notification.state

    def belong_to(self, process: ProcessIdentity) -> None:
        """Set the process that the states are of; those of another one are kept, for it has just started."""
        with self._lock:
            self._process = process

    def forget(self) -> None:
        """Drop all states: the process has ended."""
        with self._lock:
            self._process = None
            self._states.clear()

    def restore(self, process: ProcessIdentity) -> bool:
        """Load the stored states if they are of this process; return whether they were."""
        try:
            document = json.loads(files.read_if_present(self._path) or b"{}")
            if document.get("process") != _written(process):
                return False
            states = {str(name): VrrpState(state) for name, state in document["states"].items()}
        except (StorageError, ValueError, KeyError, AttributeError) as error:
            LOG.warning("could not use the stored VRRP states: %s", error)
            return False
        with self._lock:
            self._process, self._states = process, states
        return True

    def save(self) -> None:
        """Store the states if they have changed. A failure is only logged.

        Only one thread may call this.
        """
        with self._lock:
            document = {
                "process": None if self._process is None else _written(self._process),
                "states": {name: state.value for name, state in self._states.items()},
            }
        data = json.dumps(document, sort_keys=True).encode()
        if data == self._saved:
            return
        try:
            files.write_atomically(self._path, data)
            self._saved = data
        except StorageError as error:
            LOG.error("could not store the VRRP states: %s", error)


def _written(process: ProcessIdentity) -> list[int | str]:
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return [boot, process.pid, process.start_ticks]
