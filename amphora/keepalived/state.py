# SPDX-License-Identifier: Apache-2.0
"""The states of VRRP instances as the running keepalived has told them, kept across restarts of ours."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

from amphora.errors import StorageError
from amphora.keepalived.notifications import Notification, VrrpState
from amphora.models import Role
from amphora.system import files
from amphora.system.processes import PROC, ProcessIdentity

LOG = logging.getLogger(__name__)


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
        """Take over what keepalived has told, in its order."""
        with self._lock:
            for notification in notifications:
                if notification.state is VrrpState.GONE:
                    self._states.pop(notification.instance, None)
                else:
                    self._states[notification.instance] = notification.state

    def belong_to(self, process: ProcessIdentity) -> None:
        """Say which process the states are of; those of another one are kept, for it has just begun."""
        with self._lock:
            self._process = process

    def forget(self) -> None:
        """Know nothing any more: the process has ended."""
        with self._lock:
            self._process = None
            self._states.clear()

    def restore(self, process: ProcessIdentity) -> bool:
        """Take up the stored states if they are of this process; return whether they were."""
        try:
            document = json.loads(files.read_if_present(self._path) or b"{}")
            if document.get("process") != _written(process):
                return False
            states = {str(name): VrrpState(state) for name, state in document["states"].items()}
        except (StorageError, ValueError, KeyError, AttributeError) as error:
            LOG.warning("the stored VRRP states cannot be used: %s", error)
            return False
        with self._lock:
            self._process, self._states = process, states
        return True

    def save(self) -> None:
        """Store what is known if that has changed. A failure is logged: the memory counts.

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
            LOG.error("the VRRP states could not be stored: %s", error)


def _written(process: ProcessIdentity) -> list[int | str]:
    boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return [boot, process.pid, process.start_ticks]
