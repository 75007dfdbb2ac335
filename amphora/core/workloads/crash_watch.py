# SPDX-License-Identifier: Apache-2.0
"""Distinguishes a haproxy that ends because of what it reads from one that was killed."""

from __future__ import annotations

from amphora.drivers.process_manager.base import ProcessManager
from amphora.errors import ServiceError
from amphora.haproxy.log_lines import ALERT, alerts

#: An end without output is a kill from outside, and the manager starts the same configuration again.
_FORGIVEN = 1


class CrashWatch:
    """Says when a proof can no longer succeed. Each process manager restarts what has ended.

    When a worker ends at start, its master says so, ends all others and itself; each further start costs
    clients as long as it takes and ends the same. A master that was killed has said nothing.

    :param name: of a service that runs haproxy.
    :param master: process id after the start or before the reload; None: it had ended at once.
    """

    def __init__(self, services: ProcessManager, name: str, master: int | None) -> None:
        self._services = services
        self._name = name
        self._masters = {master}
        self._known_ends = 0

    def abort_reason(self) -> str:
        """Return why a proof need not be waited for; empty while it may still succeed."""
        try:
            pid = self._services.status(self._name).pid
            if pid is not None:
                self._masters.add(pid)
            ends = len(self._masters) - (pid is not None)
            # Its output may have to be asked of another program.
            if ends == self._known_ends:
                return ""
            self._known_ends = ends
            if ends > _FORGIVEN:
                return f"haproxy has ended {ends} times"
            return "haproxy has ended by itself" if self._has_complained() else ""
        except ServiceError:
            return ""

    def _has_complained(self) -> bool:
        # Alerts of workers are of other things too, such as a log that is not there.
        own = [f"({master}) :" for master in self._masters]
        lines = alerts(self._services.output(self._name)).splitlines()
        return any(line.startswith(ALERT) and any(name in line for name in own) for line in lines)
