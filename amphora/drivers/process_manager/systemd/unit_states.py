# SPDX-License-Identifier: Apache-2.0
"""What the states of a systemd unit mean in the words of the contract (systemctl(1), systemd.exec(5))."""

from __future__ import annotations

import signal

from amphora.drivers.process_manager.systemd.bus import UnitState
from amphora.models import ServiceState

_CLD_EXITED, _CLD_KILLED, _CLD_DUMPED = 1, 2, 3


def service_state(unit: UnitState) -> ServiceState:
    """Return the state of a service whose unit file is there."""
    if unit.active_state in ("active", "reloading", "refreshing"):
        return ServiceState.RUNNING
    if unit.active_state == "deactivating" and unit.main_pid > 0:
        return ServiceState.RUNNING
    if unit.active_state == "activating" or (unit.active_state == "deactivating" and unit.is_enabled):
        # Between a crash and the restart systemd says "activating", sub-state "auto-restart".
        return ServiceState.STARTING
    return ServiceState.FAILED if unit.is_enabled else ServiceState.STOPPED


def describe_end(unit: UnitState) -> str:
    """Return how the service last ended if that was not as asked, or an empty string."""
    if unit.result == "success":
        return ""
    if unit.exit_code == _CLD_EXITED:
        return f"it ended with exit status {unit.exit_status} (systemd: {unit.result})"
    if unit.exit_code in (_CLD_KILLED, _CLD_DUMPED):
        return f"it was killed by {_signal_name(unit.exit_status)} (systemd: {unit.result})"
    return f"systemd: {unit.result}"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
